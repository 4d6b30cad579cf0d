// What it costs, and saves, when pages that the destination holds travel as their hashes.
//
//   swift run -c release known-bench [MEBIBYTES]
//
// All in one process and over one socket pair, so that the ratios tell of the engines alone. Exits
// 1 if a bar is missed.

import CheckpointStore
import Endpoints
import Foundation
import MigrationEngine
import Synchronization
import Transport

@main
enum KnownBench {
  /// What a move took.
  struct Outcome {
    var seconds: Double
    /// What both engines took of the processors.
    var processorSeconds: Double
    var progress: MigrationProgress
  }

  static func main() {
    do {
      let megabytes = CommandLine.arguments.dropFirst().first.flatMap { Int($0) } ?? 512
      guard try KnownBench.run(megabytes: megabytes) else { exit(1) }
    } catch {
      print("known-bench: \(error)")
      exit(1)
    }
  }

  private static func run(megabytes: Int) throws -> Bool {
    let folder = NSTemporaryDirectory() + "/godwit-known-bench-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let memory = BenchMemory(megabytes: megabytes)
    memory.fill(seed: 1)
    let stranger = BenchMemory(megabytes: megabytes)
    stranger.fill(seed: 1 << 40)
    let raw = try write(stranger, "stranger", in: folder)
    let same = try write(memory, "same", in: folder)
    let store = try Store.open(at: folder + "/store")
    try save(memory, in: store)
    let checkpoint = KnownContentPlace.checkpoint(name: "bench", store: folder + "/store")

    print("moves of \(megabytes) MiB in one process, best of 3")
    let plain = try best(memory, [])
    report("plain", plain, megabytes, of: plain, bar: nil)
    var isMet = true
    for (name, place) in [
      ("no_hit_raw", raw), ("full_hit_raw", same), ("full_hit_checkpoint", checkpoint),
    ] {
      let outcome = try best(memory, [place])
      let isThis = outcome.seconds <= plain.seconds / 0.7
      isMet = isMet && isThis
      report(name, outcome, megabytes, of: plain, bar: isThis)
    }
    memory.fill(seed: 1 << 50) { $0 % 20 == 0 }
    let second = try best(memory, [checkpoint])
    let share = Double(second.progress.bytesSent) / Double(plain.progress.bytesSent)
    isMet = isMet && share <= 0.08
    report("second_move_5_percent", second, megabytes, of: plain, bar: share <= 0.08)
    print("  a second move, 5 % changed: \(percent(share)) of the first one's bytes; bar: 8 %")
    return isMet
  }

  private static func best(
    _ memory: BenchMemory, _ places: [KnownContentPlace]
  ) throws -> Outcome {
    let outcomes = try (0..<3).map { _ in try move(memory, places) }
    return outcomes.min { $0.seconds < $1.seconds } ?? outcomes[0]
  }

  /// Moves memory once into fresh memory; what is held is opened anew, as by a new process.
  private static func move(
    _ memory: BenchMemory, _ places: [KnownContentPlace]
  ) throws -> Outcome {
    let contents = try places.map { try CheckpointPages.open($0) }
    // A machine that waits prepares what it holds meanwhile.
    for content in contents {
      content.prepare()
      try content.announce { _ in true }
    }
    let (ours, theirs) = try ByteChannel.pair()
    let target = BenchMemory(megabytes: memory.byteCount >> 20)
    var options = DestinationOptions()
    options.knownContent = places.isEmpty ? nil : contents
    let engine = DestinationEngine(
      channel: theirs, endpoint: BenchDestination(target), options: options)
    var sourceOptions = LiveSourceOptions()
    sourceOptions.usesReturnPath = true
    sourceOptions.usesKnownPages = !places.isEmpty
    let sender = LiveSourceEngine(
      channel: ours, endpoint: BenchSource(memory), options: sourceOptions)
    let failure = Mutex<MigrationError?>(nil)
    let start = ContinuousClock.now
    let used = processorSeconds()
    let thread = try NamedThread(name: "destination") {
      do throws(MigrationError) {
        _ = try engine.run()
      } catch {
        failure.withLock { $0 = error }
      }
    }
    do {
      try sender.run()
    } catch {
      // The destination knows better why it failed.
      thread.join()
      throw failure.withLock { $0 } ?? error
    }
    thread.join()
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    let worked = processorSeconds() - used
    if let failure = failure.withLock({ $0 }) { throw failure }
    guard target.equals(memory) else {
      throw KnownContentError("What arrived", "it is not what was sent.")
    }
    return Outcome(
      seconds: seconds, processorSeconds: worked, progress: sender.account.progress)
  }

  /// What this process has taken of the processors.
  private static func processorSeconds() -> Double {
    var usage = rusage()
    // SAFETY: the kernel fills the local.
    _ = unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
    return seconds(usage.ru_utime) + seconds(usage.ru_stime)
  }

  private static func write(
    _ memory: BenchMemory, _ name: String, in folder: String
  ) throws -> KnownContentPlace {
    let path = folder + "/" + name
    try unsafe memory.withBytes { bytes in
      // SAFETY: the data is used before the memory can go.
      let data = unsafe Data(
        bytesNoCopy: UnsafeMutableRawPointer(mutating: bytes.baseAddress!), count: bytes.count,
        deallocator: .none)
      try data.write(to: URL(fileURLWithPath: path))
    }
    return .raw(path: path)
  }

  private static func save(_ memory: BenchMemory, in store: Store) throws {
    let writer = try store.beginCheckpoint(named: "bench")
    try writer.prepare(
      blocks: [CheckpointBlock(name: "ram", byteCount: UInt64(memory.byteCount))])
    try unsafe memory.withBytes { bytes in
      // SAFETY: the memory outlives the call.
      try writer.put(block: 0, offset: 0, content: unsafe bytes.bytes)
    }
    _ = try writer.seal(CheckpointState(machine: "bench", deviceState: [7]))
  }

  private static func report(
    _ name: String, _ outcome: Outcome, _ megabytes: Int, of plain: Outcome, bar: Bool?
  ) {
    let rate = Double(megabytes << 20) / outcome.seconds / 1e9
    let ratio = plain.seconds / outcome.seconds
    let mark = bar.map { $0 ? "ok      " : "MISSED  " } ?? "        "
    print(
      "\(pad(name, 24))\(pad(number(rate) + " GB/s", 12))\(pad(number(ratio) + " x", 9))\(mark)"
        + "\(number(outcome.processorSeconds)) s of processors, "
        + "\(outcome.progress.bytesSent >> 10) KiB sent, "
        + "\(outcome.progress.hashedPages) hashes, \(outcome.progress.missedPages) missed")
  }

  private static func number(_ value: Double) -> String { String(format: "%.2f", value) }
  private static func percent(_ value: Double) -> String { String(format: "%.2f %%", value * 100) }

  private static func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(1, width - text.count))
  }
}
