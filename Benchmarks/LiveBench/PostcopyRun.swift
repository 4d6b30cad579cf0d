// How soon a machine runs where its memory is not yet, and how long it waits for a page there.

import Foundation
import JSON
import QMP

/// Moves that begin as a postcopy.
struct PostcopyRun {
  private static let rounds = 3
  let bench: Bench

  /// How long a page takes that the machine waits for.
  func latency(_ table: inout BenchTable) async throws {
    let work = LiveMachine.Work(megabytes: 1024, rate: 10)
    let outcomes = try await moves(work)
    let name = "a page that is waited for, p50 / p99"
    let told = outcomes.compactMap { $0.destination.raw["x-page-latency"] }
    func times(_ member: String) -> Runs { Runs(told.compactMap { $0[member]?.double }) }
    guard !told.isEmpty else {
      table.add(name, "skipped: the destination does not tell")
      return
    }
    let (p50, p99) = (times("p50").median, times("p99").median)
    let counts = told.compactMap { $0["count"]?.int }.map(String.init).joined(separator: ", ")
    table.add(
      name, String(format: "%.0f µs / %.0f µs (\(counts) pages)", p50, p99),
      bar: "≤ 120 µs / ≤ 1 ms", met: p50 <= 120 && p99 <= 1000)
  }

  /// From the source's stop to the destination running.
  ///
  /// The guest uses as much memory in the large machine as in the small one: what is measured is
  /// over before most of it has gone.
  func start(_ table: inout BenchTable) async throws {
    for megabytes in [256, 4096] {
      let outcomes = try await moves(
        LiveMachine.Work(megabytes: megabytes, usedMegabytes: 128, rate: 10))
      let times = Runs(outcomes.map(\.downtimeMilliseconds))
      table.add(
        "\(megabytes) MiB, postcopy from the start: STOP to RESUME", times.text("ms"),
        bar: "≤ 20 ms", met: times.median <= 20)
    }
  }

  private func moves(_ work: LiveMachine.Work) async throws -> [LiveMove.Outcome] {
    var outcomes: [LiveMove.Outcome] = []
    var machine = try await LiveMachine.godwit(bench, work)
    try await machine.require(reports: 1)
    for _ in 0..<Self.rounds {
      let next = try await LiveMachine.godwit(bench, work, isIncoming: true)
      outcomes.append(try await LiveMove(mode: .postcopy).run(from: machine, to: next))
      try await next.require(reports: 2)
      machine.end()
      machine = next
    }
    machine.end()
    return outcomes
  }
}
