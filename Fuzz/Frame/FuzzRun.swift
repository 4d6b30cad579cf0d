// FuzzRun.swift: runs a target over damaged inputs, and says what came of it.

import Foundation

/// One call of a fuzz target.
struct FuzzRun<Target: FuzzTarget> {
  /// The longest that one input may take of the processor, whatever else runs on the machine.
  private static var timeLimit: Duration { .seconds(1) }

  let options: FuzzOptions

  /// Does what the options say; a finding ends the process with status 1.
  func start() throws {
    if let folder = options.seedFolder {
      for (name, bytes) in try Target.seeds() {
        try Data(bytes).write(to: URL(fileURLWithPath: folder + "/" + name))
      }
    } else if options.files.isEmpty {
      try run()
    } else {
      for path in options.files { try read(path) }
    }
  }

  private func read(_ path: String) throws {
    let entry = try FuzzCorpus<Target>.Entry(path: path)
    var random = options.random(run: 0)
    try Target.check(entry.kind, entry.bytes, &random, isCanary: options.isCanary)
    let outcome = Target.outcome(entry.kind, entry.bytes)
    print(
      "\(path): \(entry.bytes.count) bytes, no finding" + (outcome.isEmpty ? "" : "; \(outcome)"))
  }

  private func run() throws {
    let beside = URL(fileURLWithPath: Target.file).deletingLastPathComponent()
    let corpus = try FuzzCorpus<Target>(
      folder: options.corpus ?? beside.appendingPathComponent("Corpus").path)
    let start = ContinuousClock.now
    var longest = Duration.zero
    for run in options.first..<options.first + options.runs {
      let took = try runOnce(run, corpus)
      if took > longest { longest = took }
      guard took <= Self.timeLimit else {
        throw Finding(
          description: "run \(run) of seed \(options.seed) took \(took), more than "
            + "\(Self.timeLimit)")
      }
      if (run + 1) % 100_000 == 0 { print("\(run + 1) runs, longest \(longest)") }
    }
    let memory = Self.peakMemory()
    guard memory <= Target.memoryLimit else {
      throw Finding(description: "held \(memory) MiB, more than \(Target.memoryLimit)")
    }
    print(
      "\(Target.name): \(options.runs) runs from seed \(options.seed), no finding; "
        + "\(ContinuousClock.now - start), longest \(longest), peak \(memory) MiB")
  }

  /// Checks one damaged input and returns how long that took; a finding is kept in a file.
  private func runOnce(_ run: Int, _ corpus: FuzzCorpus<Target>) throws -> Duration {
    var random = options.random(run: run)
    let (kind, input) = corpus.damagedInput(&random)
    let began = Self.processorTime()
    do {
      try Target.check(kind, input, &random, isCanary: options.isCanary)
    } catch {
      let path = "\(Target.name)-\(options.seed)-\(run).\(kind.rawValue)"
      try Data(input).write(to: URL(fileURLWithPath: path))
      throw Finding(
        description: "run \(run) of seed \(options.seed): \(error)\nkept in \(path)")
    }
    return Self.processorTime() - began
  }

  /// How long the process has had a processor.
  private static func processorTime() -> Duration {
    var time = timespec()
    // SAFETY: the structure is filled during the call.
    guard unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time) == 0 else { return .zero }
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
  }

  /// The most memory that the process has held, in MiB.
  private static func peakMemory() -> Int {
    var usage = rusage()
    // SAFETY: the structure is the kernel's own and is filled during the call.
    guard unsafe getrusage(RUSAGE_SELF.rawValue, &usage) == 0 else { return 0 }
    return usage.ru_maxrss / 1024
  }
}
