// Several processes in one store: killed, side by side, out of disk.

import CheckpointStore
import Foundation
import Testing

/// The test's own process to kill (see Tests/StoreCrash).
final class StoreProcess {
  let process = Process()
  private let output = Pipe()
  private let input = Pipe()

  init(_ arguments: [String], shell: String? = nil, unshare: Bool = false) throws {
    let program =
      Bundle.main.executableURL?.deletingLastPathComponent()
      .appendingPathComponent("StoreCrash").path ?? "StoreCrash"
    let built = StoreProcess.products() + "/StoreCrash"
    let path = FileManager.default.isExecutableFile(atPath: built) ? built : program
    if let shell {
      let command = ["bash", "-c", shell + " exec \"$0\" \"$@\"", path] + arguments
      process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
      process.arguments = (unshare ? ["unshare", "-m"] : []) + command
    } else {
      process.executableURL = URL(fileURLWithPath: path)
      process.arguments = arguments
    }
    process.standardOutput = output
    process.standardInput = input
    try process.run()
  }

  /// Whether this user may mount in a namespace of its own.
  static func canMount() -> Bool {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["unshare", "-m", "true"]
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }

  /// The folder that holds what was built with the tests.
  private static func products() -> String {
    let bundle = CommandLine.arguments.first { $0.hasSuffix(".xctest") } ?? CommandLine.arguments[0]
    return URL(fileURLWithPath: bundle).deletingLastPathComponent().path
  }

  /// Waits for a line of output.
  func line() -> String {
    var bytes: [UInt8] = []
    while let byte = try? output.fileHandleForReading.read(upToCount: 1)?.first, byte != 10 {
      bytes.append(byte)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  func kill() {
    Foundation.kill(process.processIdentifier, SIGKILL)
    process.waitUntilExit()
  }

  func closeInput() { try? input.fileHandleForWriting.close() }

  /// The rest of the output, once the process has ended.
  func finish() -> (status: Int32, output: String) {
    closeInput()
    let rest = (try? output.fileHandleForReading.readToEnd()) ?? nil
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: rest ?? Data(), as: UTF8.self))
  }
}

@Suite struct ProcessTests {
  @Test(.timeLimit(.minutes(2)))
  func `a save killed at any instant harms no listed checkpoint, and a collect reclaims it`() throws
  {
    let fixture = try StoreFixture()
    let kept = (UInt64(0)..<60).flatMap(noisePage) + zeroPage
    try fixture.save("kept", [("ram", kept)])
    _ = try fixture.store.collect()
    let baseline = try fixture.store.usage()
    var generator = SeededGenerator(11)
    var listed = 0
    for round in 0..<50 {
      let child = try StoreProcess(
        ["save", fixture.path, "k\(round)", "\(round * 1000)", "400", "2"])
      _ = child.line()
      // Half of them are killed while they seal, where it matters most.
      if round % 2 == 0 { _ = child.line() }
      usleep(UInt32.random(in: 0..<(round % 2 == 0 ? 30_000 : 60_000), using: &generator))
      child.kill()
      let store = try Store.open(at: fixture.path)
      let report = try store.verify()
      #expect(report.isClean, "round \(round): \(report.damages)")
      for info in try store.checkpoints() where info.name != "kept" {
        listed += 1
        #expect(info.pagesZero + info.pagesNew + info.pagesKnown == 400)
        try store.delete([info.name])
      }
      #expect(try fixture.content("kept") == kept)
      if round % 3 == 2 {
        _ = try store.collect(waitSeconds: 5)
        #expect(try store.verify().isClean)
      }
    }
    _ = try fixture.store.collect(waitSeconds: 5)
    let usage = try fixture.store.usage()
    #expect(usage.sessions == 0)
    #expect(usage.packs <= baseline.packs + 64 * 1024)
    #expect(usage.storedPages == 60)
    #expect(try fixture.content("kept") == kept)
    try fixture.save("after", [("ram", kept + textPage(1))])
    #expect(try fixture.store.verify().isClean)
  }

  @Test(.timeLimit(.minutes(1)))
  func `two processes save into one store while a third verifies`() throws {
    let fixture = try StoreFixture()
    let verifier = try StoreProcess(["verify", fixture.path])
    #expect(verifier.line() == "verifying")
    for round in 0..<3 {
      let savers = try (0..<2).map { place in
        try StoreProcess(["save", fixture.path, "r\(round)-\(place)", "5", "300", "1"])
      }
      for saver in savers {
        let end = saver.finish()
        #expect(end.status == 0, "\(end.output)")
      }
    }
    let end = verifier.finish()
    #expect(end.status == 0 && end.output.hasPrefix("clean"), "\(end.output)")
    #expect(try fixture.store.checkpoints().count == 6)
    // All six saved the same memory: whatever the interleaving, each page is there once.
    let contents = try fixture.store.checkpoints().map { try fixture.content($0.name) }
    #expect(Set(contents).count == 1)
    let pages = Set((0..<300).map { Array(contents[0][$0 * 4096..<($0 + 1) * 4096]) })
    #expect(try fixture.store.usage().storedPages == UInt64(pages.subtracting([zeroPage]).count))
    #expect(try fixture.store.verify().isClean)
  }

  @Test(.timeLimit(.minutes(1)))
  func `processes that make a store at once make one store`() throws {
    let path = NSTemporaryDirectory() + "/godwit-new-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let savers = try (0..<4).map { try StoreProcess(["save", path, "n\($0)", "9", "50", "1"]) }
    for saver in savers {
      let end = saver.finish()
      #expect(end.status == 0, "\(end.output)")
    }
    let store = try Store.open(at: path, create: false)
    #expect(try store.checkpoints().count == 4)
    #expect(try store.verify().isClean)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a collect leaves alone what another process is writing`() throws {
    let fixture = try StoreFixture()
    let holder = try StoreProcess(["hold", fixture.path, "held"])
    #expect(holder.line() == "holding")
    do {
      _ = try fixture.store.collect(waitSeconds: 0.1)
      Issue.record("a collect went on beside a save")
    } catch StoreError.busy(_, let holders) {
      #expect(holders == [holder.process.processIdentifier])
    }
    let end = holder.finish()
    #expect(end.status == 0, "\(end.output)")
    _ = try fixture.store.collect()
    #expect(try fixture.store.checkpoint(named: "held").info.ramBytes == 64 * 4096)
    #expect(try fixture.store.verify().isClean)
  }

  @Test(.timeLimit(.minutes(1)), arguments: [2, 20, 40, 70, 200, 1000])
  func `a disk that fills ends a save with a sentence and lists nothing`(kibibytes: Int) throws {
    let fixture = try StoreFixture()
    try fixture.save("kept", [("ram", noisePage(1))])
    // RLIMIT_FSIZE in place of a full disk, its signal ignored: writes fail with EFBIG.
    let child = try StoreProcess(
      ["save", fixture.path, "big", "3", "2000", "1"],
      shell: "trap '' XFSZ; ulimit -f \(kibibytes);")
    let end = child.finish()
    #expect(end.status == 1, "\(end.output)")
    #expect(end.output.contains("error: "), "\(end.output)")
    #expect(try fixture.store.checkpoints().map(\.name) == ["kept"])
    #expect(try fixture.store.verify().isClean)
    _ = try fixture.store.collect(waitSeconds: 5)
    #expect(try fixture.store.usage().sessions == 0)
    #expect(try fixture.content("kept") == noisePage(1))
  }

  @Test(
    .timeLimit(.minutes(1)),
    .enabled(if: getuid() == 0 && StoreProcess.canMount(), "mounting a small disk needs root"),
    arguments: [1, 2, 3, 4])
  func `a disk without space ends a save with a sentence`(mebibytes: Int) throws {
    let folder = NSTemporaryDirectory() + "/godwit-disk-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    // A mount of its own namespace: it goes with the shell.
    let child = try StoreProcess(
      ["save", folder + "/store", "big", "3", "2000", "1"],
      shell: """
        mount -t tmpfs -o size=\(mebibytes)m tmpfs \(folder) || exit 3
        "$0" save \(folder)/store kept 1 10 1 >/dev/null || exit 4
        "$0" "$@"; status=$?
        "$0" collect \(folder)/store || exit 5
        "$0" verify \(folder)/store </dev/null || exit 6
        exit $status; :
        """, unshare: true)
    let end = child.finish()
    #expect(end.status == 1, "\(end.output)")
    #expect(end.output.contains("error: ") && end.output.contains("No space left"), "\(end.output)")
    #expect(end.output.contains("clean"), "\(end.output)")
  }
}
