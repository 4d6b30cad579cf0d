// How soon a machine runs where its memory is not yet, and how long it waits for a page there.

import Endpoints
import Foundation
import JSON
import QMP

/// Moves that begin as a postcopy.
struct PostcopyRun {
  private static let rounds = 3
  let bench: Bench
  /// Nil where there is none, or it is not wanted.
  let qemu: InstalledQEMU?

  /// How long a page takes that the machine waits for.
  func latency(_ table: inout BenchTable) async throws {
    let work = LiveMachine.Work(megabytes: 1024, rate: 10)
    try await tell(of: try await moves(work), "over one connection", &table)
    // As `godwit migrate` moves them.
    let outcomes = try await moves(work, usesPreempt: true)
    try await tell(of: outcomes, "over one of its own", &table)
    try await compare(work, outcomes, &table)
  }

  private func tell(
    of outcomes: [LiveMove.Outcome], _ way: String, _ table: inout BenchTable
  ) async throws {
    let name = "a page that is waited for, \(way), p50 / p99"
    let told = outcomes.compactMap { $0.destination.raw["x-page-latency"] }
    func times(_ member: String) -> Runs { Runs(told.compactMap { $0[member]?.double }) }
    guard !told.isEmpty else {
      table.add(name, "skipped: the destination does not tell")
      return
    }
    let (p50, p99) = (times("p50").median, times("p99").median)
    let counts = told.compactMap { $0["count"]?.int }.map(String.init).joined(separator: ", ")
    table.add(
      name,
      String(
        format: "%.0f µs / %.0f µs (\(counts) pages, %.1f s)", p50, p99,
        Runs(outcomes.map(\.seconds)).median),
      bar: "≤ 120 µs / ≤ 1 ms", met: p50 <= 120 && p99 <= 1000)
  }

  /// Beside QEMU, whose account of the waiting is coarser.
  private func compare(
    _ work: LiveMachine.Work, _ own: [LiveMove.Outcome], _ table: inout BenchTable
  ) async throws {
    guard let qemu else {
      table.add("the same, QEMU to QEMU", "skipped: there is no qemu-system-x86_64, or --no-qemu")
      return
    }
    let others = try await moves(work) { isIncoming in
      try await LiveMachine.qemu(qemu.command, bench, work, isIncoming: isIncoming)
    }
    let (ours, theirs) = (
      Runs(own.compactMap(\.meanWaitMicroseconds)), Runs(others.compactMap(\.meanWaitMicroseconds))
    )
    table.add(
      "the same in the mean, beside QEMU \(qemu.version ?? "") to QEMU",
      String(format: "%.0f µs beside %.0f µs", ours.median, theirs.median), bar: "no more",
      met: ours.median <= theirs.median)
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

  private func moves(
    _ work: LiveMachine.Work, usesPreempt: Bool = false
  ) async throws -> [LiveMove.Outcome] {
    try await moves(work, usesPreempt: usesPreempt) { isIncoming in
      try await LiveMachine.godwit(bench, work, isIncoming: isIncoming)
    }
  }

  private func moves(
    _ work: LiveMachine.Work, usesPreempt: Bool = false, _ start: (Bool) async throws -> LiveMachine
  ) async throws -> [LiveMove.Outcome] {
    var outcomes: [LiveMove.Outcome] = []
    var machine = try await start(false)
    try await machine.require(reports: 1)
    for _ in 0..<Self.rounds {
      let next = try await start(true)
      outcomes.append(
        try await LiveMove(mode: .postcopy, usesPreempt: usesPreempt).run(from: machine, to: next))
      try await next.require(reports: 2)
      machine.end()
      machine = next
    }
    machine.end()
    return outcomes
  }
}
