// What a guest declares free stays where it is, and what it writes there after all goes with it.

import DirtyTracking
import Foundation
import GuestMemory
import JSON
import QMP
import Testing
import Transport

@testable import VMM

@Suite(.enabled(if: StateGuest.isPossible, "needs /dev/kvm"), .serialized)
struct ExcludedMoveTests {
  /// 2048 pages, of which the guest declares half, but for some at the edges.
  private static let freePages: UInt64 = 1024

  private static func source(
    _ log: DirtyLogKind? = nil, reuse: Int = 0, _ accelerator: AcceleratorKind = .kvm
  ) throws -> MovingMachine {
    let source = try MovingMachine(
      accelerator: accelerator, dirtyLog: log, workingMegabytes: 8, freePercent: 50,
      reusedMegabytesPerSecond: reuse)
    try source.requireHealth(reports: 1)
    return source
  }

  @Test(.timeLimit(.minutes(2)), arguments: LiveMoveTests.logs)
  func `half of the memory is free, and half of it travels`(log: DirtyLogKind) throws {
    let source = try Self.source(log)
    #expect(source.machine.parts.excluded.declaredPageCount == Int(Self.freePages))
    let target = try MovingMachine(isIncoming: true)
    try target.receive("unix:" + MovingMachine.path("sock"), ["return-path"])
    try source.send(target.listeningAddress, ["return-path"])
    let ram = try #require(try source.migrationEnd().ram)
    #expect(ram.excludedPageCount == Self.freePages)
    #expect(ram.normalPageCount >= 1000)
    #expect(ram.transferredByteCount < 3 * Self.freePages * 4096 / 2)
    #expect(try target.migrationEnd().failure == nil)
    #expect(try target.memory() == source.memory(), "what is free is zeros on both sides")
    try target.machine.cont()
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(3)), arguments: LiveMoveTests.logs)
  func `what is free is filled and freed again all the while, and nothing is lost`(
    log: DirtyLogKind
  ) throws {
    var source = try Self.source(log, reuse: 8)
    for round in 0..<3 {
      let target = try MovingMachine(
        isIncoming: true, runsOn: true, dirtyLog: log, workingMegabytes: 8, freePercent: 50,
        reusedMegabytesPerSecond: 8)
      // Slow enough for the guest to use, free and use again what has been sent.
      try target.receive("unix:" + MovingMachine.path("sock"), ["return-path"])
      try source.send(target.listeningAddress, ["return-path"]) { options in
        options.set("max-bandwidth", 16 << 20)
      }
      try #require(try source.migrationEnd().status == .completed, "round \(round)")
      #expect(try target.migrationEnd().failure == nil)
      #expect(source.machine.parts.excluded.leftOutPageCount == 0, "it ends with the move")
      // Long enough to check every page twice.
      try target.requireHealth(reports: 20)
      source = target
    }
  }

  @Test(.timeLimit(.minutes(2)), arguments: LiveMoveTests.logs)
  func `memory that follows its machine has zeros where it is free`(log: DirtyLogKind) throws {
    let source = try Self.source(log, reuse: 8)
    let target = try MovingMachine(
      isIncoming: true, runsOn: true, workingMegabytes: 8, freePercent: 50,
      reusedMegabytesPerSecond: 8)
    let capabilities: Set<String> = ["return-path", "postcopy-ram"]
    try target.receive("unix:" + MovingMachine.path("sock"), capabilities)
    try source.send(target.listeningAddress, capabilities) { options in
      options.set("max-bandwidth", 4 << 20)
    }
    try source.wait("a part of the first round") {
      source.machine.migration.account.ram.map { $0.transferredByteCount > 1 << 20 } ?? false
    }
    try source.machine.migration.startPostcopy()
    try #require(try source.migrationEnd().status == .completed)
    #expect(try target.migrationEnd().failure == nil)
    try target.requireHealth(reports: 20)
    #expect(target.machine.parts.excluded.declaredPageCount > 0, "it goes on there")
  }

  @Test(.timeLimit(.minutes(2)))
  func `a machine that stands still leaves out what is free, and keeps what was written since`()
    throws
  {
    let source = try Self.source()
    try source.machine.stop()
    let block = source.machine.parts.mainBlock
    let excluded = source.machine.parts.excluded
    let first = try #require((0..<block.pageCount).last { excluded.isDeclared($0) })
    try block.write(offset: first * 4096, [0x5a].span.bytes)
    let file = MovingMachine.path("stream")
    defer { try? FileManager.default.removeItem(atPath: file) }
    try source.send("file:" + file)
    #expect(try source.migrationEnd().ram?.excludedPageCount == Self.freePages - 1)
    let target = try MovingMachine(isIncoming: true)
    try target.receive("file:" + file)
    #expect(try target.migrationEnd().failure == nil)
    #expect(try target.memory() == source.memory())
  }

  @Test(.timeLimit(.minutes(2)))
  func `a move that fails leaves every page as it was, and the next one leaves out as much`()
    throws
  {
    let source = try Self.source()
    try source.send("exec:cat > /dev/null; exit 3")
    #expect(try source.migrationEnd().status == .failed)
    // It went out whole, to whomever.
    try source.machine.cont()
    try source.requireHealth()
    let file = MovingMachine.path("stream")
    defer { try? FileManager.default.removeItem(atPath: file) }
    try source.send("file:" + file)
    #expect(try source.migrationEnd().ram?.excludedPageCount == Self.freePages)
  }

  @Test(.timeLimit(.minutes(2)))
  func `what an operator excludes is zeros there, unless it is written meanwhile`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let file = MovingMachine.path("pages")
    defer { try? FileManager.default.removeItem(atPath: file) }
    // The last 4 MiB of 16, which the guest leaves alone, and all that it works with.
    let bitmap = [UInt8](repeating: 0, count: 384) + [UInt8](repeating: 0xff, count: 128)
    try Data(bitmap).write(to: URL(fileURLWithPath: file))
    let block = source.machine.parts.mainBlock
    for page in 3072..<4096 { try block.write(offset: page * 4096, [0x5a].span.bytes) }
    let target = try MovingMachine(isIncoming: true)
    try target.receive("unix:" + MovingMachine.path("sock"), ["return-path"])
    try source.send(target.listeningAddress, ["return-path"]) { options in
      options.set("x-exclude-bitmap", .string(file))
    }
    #expect(try source.migrationEnd().ram?.excludedPageCount == 1024)
    #expect(try target.migrationEnd().failure == nil)
    let (here, there) = (try source.memory(), try target.memory())
    #expect(there.prefix(12 << 20) == here.prefix(12 << 20))
    #expect(there.suffix(4 << 20).allSatisfy { $0 == 0 })
    try target.machine.cont()
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(2)))
  func `a file for another machine is refused before anything is sent`() throws {
    let source = try MovingMachine()
    let file = MovingMachine.path("pages")
    defer { try? FileManager.default.removeItem(atPath: file) }
    try Data(count: 511).write(to: URL(fileURLWithPath: file))
    let sink = MovingMachine.path("stream")
    do {
      try source.send("file:" + sink) { $0.set("x-exclude-bitmap", .string(file)) }
      Issue.record("it was taken")
    } catch {
      #expect("\(error)".contains("a bitmap of 'pc.ram' has 512"), "\(error)")
    }
    #expect(!FileManager.default.fileExists(atPath: sink))
    #expect(source.machine.migration.account.status == .none)
    try source.requireHealth()
  }

  @Test(.timeLimit(.minutes(2)))
  func `a reset forgets what was declared`() throws {
    let source = try Self.source()
    try source.machine.stop()
    try source.machine.reset()
    #expect(source.machine.parts.excluded.declaredPageCount == 0)
  }
}

@Suite struct ExcludedSyntheticTests {
  @Test(.timeLimit(.minutes(2)))
  func `the stand-in's free memory stays where it is, too`() throws {
    let source = try MovingMachine(
      accelerator: .synthetic, workingMegabytes: 8, freePercent: 50)
    try source.requireHealth(reports: 1)
    let target = try MovingMachine(
      isIncoming: true, accelerator: .synthetic, workingMegabytes: 8, freePercent: 50)
    try target.receive("unix:" + MovingMachine.path("sock"), ["return-path"])
    try source.send(target.listeningAddress, ["return-path"])
    #expect(try source.migrationEnd().ram?.excludedPageCount == 1024)
    #expect(try target.migrationEnd().failure == nil)
    #expect(try target.memory() == source.memory())
    try target.machine.cont()
    try target.requireHealth()
  }
}
