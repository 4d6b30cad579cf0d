// How long a busy machine stands still, as its guest sees it.

import DemoGuest
import Foundation

/// Precopies of a machine that is rewritten at half the rate of the link.
struct DowntimeRun {
  private static let limit = 30.0
  /// The link's rate in MiB a second: set, so that half of it means the same on every host.
  private static let linkMegabytes = 256
  private static let work = LiveMachine.Work(megabytes: 1024, rate: linkMegabytes / 2)

  let bench: Bench
  /// How many moves there are.
  let count: Int

  func run(_ table: inout BenchTable) async throws {
    var gaps: [Double] = []
    var downtimes: [Double] = []
    var quietGaps: [Double] = []
    let move = LiveMove(
      bytesPerSecond: UInt64(Self.linkMegabytes) << 20, downtimeMilliseconds: Int(Self.limit))
    var machine = try await LiveMachine.godwit(bench, Self.work)
    try await machine.require(reports: 3)
    for _ in 0..<count {
      let next = try await LiveMachine.godwit(bench, Self.work, isIncoming: true)
      let outcome = try await move.run(from: machine, to: next)
      // The first report after a move tells of the longest pause since the last one before it.
      let reports = try await next.require(reports: 3)
      gaps.append(reports[0].gapMilliseconds)
      quietGaps += reports[1...].map(\.gapMilliseconds)
      downtimes.append(outcome.downtimeMilliseconds)
      machine.end()
      machine = next
    }
    machine.end()
    let (seen, stood, quiet) = (Runs(gaps), Runs(downtimes), Runs(quietGaps))
    let name = "1 GiB, rewritten at half the link's rate"
    table.add(
      "\(name): the guest's pause, p50 / p95",
      String(format: "%.1f / %.1f ms of %d", seen.median, seen.percentile(95), count),
      bar: "p95 ≤ 30 ms", met: seen.percentile(95) <= Self.limit)
    table.add(
      "the same, from STOP to RESUME, p50 / p95",
      String(format: "%.1f / %.1f ms", stood.median, stood.percentile(95)))
    table.add(
      "the guest's pauses while nothing moves, p50 / p95",
      String(format: "%.1f / %.1f ms", quiet.median, quiet.percentile(95)))
  }
}
