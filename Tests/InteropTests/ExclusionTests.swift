// What an operator says is not needed: `--exclude`, from the command line to the far side's memory.

import Foundation
import JSON
import QEMULab
import Testing

extension Interop {
  @Suite struct ExclusionTests {
    /// 64 MiB have 16,384 pages, and a bitmap of 2 KiB.
    private static let bitmapByteCount = 2048
    /// 1,024 pages in the middle of what the guest has filled.
    private static let excluded = 1024..<1152
    private static let pageRange = excluded.lowerBound * 8..<excluded.upperBound * 8

    private let godwit: Godwit
    private let file: ExclusionFile

    init() throws {
      godwit = try Godwit()
      file = try ExclusionFile(byteCount: Self.bitmapByteCount, set: Self.excluded)
    }

    /// A machine that has filled its memory and stands still.
    private func still() throws -> OwnMachine {
      let machine = try OwnMachine(godwit, accelerator: "synthetic")
      try machine.requireHealth()
      try machine.qmp.execute("stop")
      return machine
    }

    /// Sees a machine have all of `memory` but what was left out, which is zeros.
    private func requireRest(of memory: Data, at target: OwnMachine) throws {
      let bytes = Self.pageRange.lowerBound * 4096..<Self.pageRange.upperBound * 4096
      var expected = memory
      #expect(memory[bytes].contains { $0 != 0 }, "nothing was there to leave out")
      expected.replaceSubrange(bytes, with: Data(count: bytes.count))
      #expect(try target.memory() == expected)
    }

    @Test(.timeLimit(.minutes(2)))
    func `a move leaves out what the operator names, and says how much`() throws {
      let source = try still()
      let target = try OwnMachine(godwit, isIncoming: true, accelerator: "synthetic")
      let memory = try source.memory()
      let before = try source.qmp.execute("query-migrate-parameters")
      let result = try godwit.run([
        "migrate", "--from", source.qmpPath, "--to", target.qmpPath, "--exclude", file.path,
      ])
      #expect(result["pages_excluded"]?.int == Self.pageRange.count, "\(result)")
      try requireRest(of: memory, at: target)
      #expect(try source.qmp.execute("query-migrate-parameters") == before)
    }

    @Test(.timeLimit(.minutes(2)))
    func `a save leaves out what the operator names, and its checkpoint has zeros`() throws {
      let source = try still()
      let memory = try source.memory()
      let saved = try godwit.run([
        "save", "--qmp", source.qmpPath, "--name", "one", "--exclude", file.path,
      ])
      #expect(saved["pages_excluded"]?.int == Self.pageRange.count, "\(saved)")
      #expect(saved["pages_zero"]?.int ?? 0 >= Self.pageRange.count)
      let target = try OwnMachine(godwit, isIncoming: true, accelerator: "synthetic")
      try godwit.run(["restore", "one", "--qmp", target.qmpPath])
      try target.wait(for: "all of it") { try target.migrationStatus == "completed" }
      try requireRest(of: memory, at: target)
    }

    @Test(.timeLimit(.minutes(2)))
    func `a bitmap for another machine is refused, with what was expected and what was found`()
      throws
    {
      let source = try still()
      let target = try OwnMachine(godwit, isIncoming: true, accelerator: "synthetic")
      let wrong = try ExclusionFile(byteCount: Self.bitmapByteCount / 2)
      let move = ["migrate", "--from", source.qmpPath, "--to", target.qmpPath]
      let save = ["save", "--qmp", source.qmpPath, "--name", "one"]
      for words in [move, save] {
        let said = try godwit.refuse(words + ["--exclude", wrong.path])
        #expect(said.contains("has 1024 bytes") && said.contains("has 2048"), "\(said)")
        #expect(try source.status == "paused")
        #expect(try source.qmp.execute("query-migrate-parameters")["x-exclude-bitmap"] == "")
      }
      #expect(try godwit.names().isEmpty)
    }

    @Test(.timeLimit(.minutes(2)), .enabled(if: QEMU.newest() != nil, "needs a QEMU"))
    func `a QEMU cannot leave pages out, and is not asked to`() throws {
      let move = try MovingGuest(from: try #require(QEMU.newest()))
      let save = ["save", "--qmp", move.source.qmpPath, "--name", "one"]
      for words in [move.words([]), save] {
        let said = try godwit.refuse(words + ["--exclude", file.path])
        #expect(said.contains("is a QEMU") && said.contains("Leave out --exclude"), "\(said)")
      }
      try move.source.requireHealth()
    }
  }
}
