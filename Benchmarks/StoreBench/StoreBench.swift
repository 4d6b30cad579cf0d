// The store's speed, as ratios to this machine's own SHA-256 rate in the same run.
//
//   swift run -c release store-bench [--store DIR] [--mib N] [--threads N] [--rounds N]
//
// DIR is made and removed; a folder in /dev/shm leaves the disk out of it. The disk's rate is the
// `durable` one, and that of all beyond `WriterOptions.cachedByteCount` where N is so large. The
// last line is JSON.

import BenchHost
import CheckpointStore
import Foundation

@main
enum StoreBench {
  static func main() throws {
    let settings = Settings(CommandLine.arguments)
    let folder = settings.folder + "/store-bench-\(getpid())"
    defer { try? FileManager.default.removeItem(atPath: folder) }
    var results = Results()
    let memory = Memory(mebibytes: settings.mebibytes)
    memory.fillWithNoise(seed: 1)

    // Rates move with what else the machine does: each round measures both, in turn, and the best
    // of each counts.
    for round in 1...settings.rounds {
      let isLast = round == settings.rounds
      let hashing = RawHashing(memory: memory, threads: settings.threads)
      try? FileManager.default.removeItem(atPath: folder)
      // The disk is told of free blocks (`discard`) at the next commit: no part of the next save.
      sync()
      try FreeMemory.touch(byteCount: memory.byteCount * 3 / 2)
      hashing.measure(&results)
      let store = try Store.open(at: folder)
      let run = IngestRun(store: store, memory: memory, threads: settings.threads)
      try run.unique(&results)
      try run.known(&results)
      try run.zero(&results)
      guard isLast else { continue }
      try run.overhead(&results)
      try ReadRun(store: store, memory: memory).measure(&results)
      try run.compressed(&results)
    }
    results.judge()
    results.printTable()
    results.printJSON()
  }
}

/// What the command line asks for.
struct Settings {
  var folder = NSTemporaryDirectory()
  var mebibytes = 256
  var threads = 2
  var rounds = 8

  init(_ arguments: [String]) {
    threads = min(max(ProcessInfo.processInfo.activeProcessorCount, 1), 8)
    var rest = arguments.dropFirst()
    while let name = rest.popFirst() {
      guard let value = rest.popFirst() else { break }
      switch name {
      case "--store": folder = value
      case "--mib": mebibytes = Int(value) ?? mebibytes
      case "--rounds": rounds = max(Int(value) ?? rounds, 1)
      case "--threads": threads = Int(value) ?? threads
      default: print("unknown option \(name)")
      }
    }
  }
}

/// Seconds that something takes.
func seconds<R>(_ body: () throws -> R) rethrows -> (Double, R) {
  let start = ContinuousClock.now
  let result = try body()
  let taken = ContinuousClock.now - start
  return (Double(taken.components.seconds) + Double(taken.components.attoseconds) / 1e18, result)
}

/// Processor seconds that this process has used, in its own code and in the kernel's.
func processorSeconds() -> (user: Double, system: Double) {
  var usage = rusage()
  // SAFETY: `usage` is a whole struct rusage.
  unsafe getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  return (
    Double(usage.ru_utime.tv_sec) + Double(usage.ru_utime.tv_usec) / 1e6,
    Double(usage.ru_stime.tv_sec) + Double(usage.ru_stime.tv_usec) / 1e6
  )
}

/// Figures with what they mean.
struct Results {
  private(set) var values: [(name: String, value: Double, meaning: String)] = []

  /// Notes a figure.
  mutating func add(_ name: String, _ value: Double, _ meaning: String) {
    values.removeAll { $0.name == name }
    values.append((name, value, meaning))
  }

  /// Notes a figure if it is better than that of the rounds before.
  mutating func addBest(
    _ name: String, _ value: Double, _ meaning: String,
    isBetter: (Double, Double) -> Bool = { $0 > $1 }
  ) {
    if let known = values.first(where: { $0.name == name }), !isBetter(value, known.value) {
      return
    }
    add(name, value, meaning)
  }

  /// Notes a figure that only the first round can tell.
  mutating func addFirst(_ name: String, _ value: Double, _ meaning: String) {
    if !values.contains(where: { $0.name == name }) { add(name, value, meaning) }
  }

  /// A figure noted before.
  func value(_ name: String) -> Double { values.first { $0.name == name }?.value ?? .nan }

  /// The bars, met or not.
  mutating func judge() {
    let raw = value("sha256_bytes_per_second")
    let unique = value("ingest_unique_bytes_per_second")
    let zero = value("ingest_zero_bytes_per_second")
    add("ratio_unique_to_sha256", unique / raw, "bar: at least 0.6")
    add(
      "ratio_unique_to_sha256_by_processor_time",
      value("sha256_processor_seconds") / value("unique_processor_seconds"),
      "the same where other work takes part of the machine")
    add("ratio_zero_to_unique", zero / unique, "bar: at least 5")
    add("ratio_zero_to_sha256", zero / raw, "zero pages against hashing them")
  }

  /// A line for each figure.
  func printTable() {
    for (name, value, meaning) in values.sorted(by: { $0.name < $1.name }) {
      let text =
        value >= 1e6 ? String(format: "%.0f M", value / 1e6) : String(format: "%.4g", value)
      print(
        name.padding(toLength: 44, withPad: " ", startingAt: 0)
          + text.padding(toLength: 10, withPad: " ", startingAt: 0) + meaning)
    }
  }

  /// One line for programs.
  func printJSON() {
    let fields = values.map { "\"\($0.name)\":\($0.value.isFinite ? "\($0.value)" : "null")" }
    print("{\"event\":\"result\",\(fields.joined(separator: ","))}")
  }
}
