// What it saves when half of a machine's memory is declared free.

import Foundation

/// The same precopy with all of the memory in use, and with half of it.
struct FreePagesRun {
  private static let rounds = 5
  /// Large enough for what every move takes, however little memory goes, to be a small part.
  private static let megabytes = 2048
  let bench: Bench

  func run(_ table: inout BenchTable) async throws {
    let used = try await moves(LiveMachine.Work(megabytes: Self.megabytes))
    let half = try await moves(LiveMachine.Work(megabytes: Self.megabytes, freePercent: 50))
    let bytes =
      Runs(half.map { Double($0.sentBytes) }).median
      / Runs(used.map { Double($0.sentBytes) }).median
    let time = Runs(half.map(\.seconds)).median / Runs(used.map(\.seconds)).median
    table.add(
      "half of \(Self.megabytes) MiB declared free: bytes, time",
      String(format: "%.2f ×, %.2f ×", bytes, time),
      bar: "≤ 0.55 × each", met: bytes <= 0.55 && time <= 0.55)
  }

  private func moves(_ work: LiveMachine.Work) async throws -> [LiveMove.Outcome] {
    var outcomes: [LiveMove.Outcome] = []
    // A new machine each time: what is free is known where it was declared.
    for _ in 0..<Self.rounds {
      let machine = try await LiveMachine.godwit(bench, work)
      try await machine.require(reports: 1)
      let next = try await LiveMachine.godwit(bench, work, isIncoming: true)
      outcomes.append(
        try await LiveMove(expectedByteCount: work.megabytes << 20).run(from: machine, to: next))
      try await next.require(reports: 2)
    }
    return outcomes
  }
}
