// How often a guest waits for a page at its first restore and at its second, and how long.

import CheckpointStore
import Endpoints
import Foundation
import QMP

/// Measures what a first restore teaches the second one.
struct RequestBench {
  static let megabytes = 1024
  /// Checkpoints that are restored twice each.
  static let pairs = 3
  let context: BenchContext

  func run(_ table: inout BenchTable) async throws {
    // The more cold memory a guest goes over in a second, the more it finds there at its first
    // restore that it never asked for.
    try await pairs(rate: 10, check: 16, "hurried", &table)
    let store = try await pairs(rate: 2, check: 4, "calm", &table)
    let guest = try BenchGuest(context, megabytes: Self.megabytes, incoming: "defer")
    try await guest.monitor().close()
    let peak = try ChildProcess.peakMegabytes(
      ["restore", "guest-0", "--qmp", guest.qmp, "--store", store.path])
    table.add(
      "memory of godwit, restoring \(Self.megabytes) MiB", "\(peak) MiB", bar: "≤ 200 MiB",
      met: peak <= 200)
    try FileManager.default.removeItem(atPath: store.path)
  }

  /// Restores checkpoints that the store knows nothing of, each of them twice.
  @discardableResult
  private func pairs(
    rate: Int, check: Int, _ mood: String, _ table: inout BenchTable
  ) async throws -> Store {
    let store = try Store.open(at: context.path(mood))
    try await save(rate: rate, check: check, into: store)
    // The bar is for a checkpoint in the page cache, which a save goes past.
    try PageCache.read(folder: store.path + "/packs")
    var pairs: [(first: RestoreResult, second: RestoreResult)] = []
    for number in 0..<Self.pairs {
      let first = try await restore(number, from: store)
      pairs.append((first, try await restore(number, from: store)))
    }
    let guest = "\(mood) guest (\(rate + check) MiB/s)"
    let latencies = pairs.compactMap(\.first.requestMicroseconds)
    let p50 = Runs.median(latencies.map(\.p50))
    let p99 = Runs.median(latencies.map(\.p99))
    table.add(
      "page request, read to written: p50 / p99, \(guest)",
      String(format: "%.0f µs / %.0f µs", p50, p99), bar: "≤ 100 µs / ≤ 1 ms",
      met: p50 <= 100 && p99 <= 1000)
    let counts = pairs.map { ($0.first.pageRequests, $0.second.pageRequests) }
    let fewer = Runs.median(counts.map { 100 - 100 * Double($0.1) / Double($0.0) })
    table.add(
      "second restore: fewer page requests, \(guest)",
      String(format: "%.0f %% fewer (", fewer)
        + counts.map { "\($0.0) → \($0.1)" }.joined(separator: ", ") + ")",
      bar: "≥ 80 % fewer (median)", met: fewer >= 80)
    return store
  }

  private func save(rate: Int, check: Int, into store: Store) async throws {
    let guest = try BenchGuest(context, megabytes: Self.megabytes, rate: rate, check: check)
    try await guest.waitUntilReady()
    for number in 0..<Self.pairs {
      _ = try await Operations.save(
        SaveRequest(qmp: guest.qmp, name: "guest-\(number)", mode: .paused), store: store)
    }
  }

  private func restore(_ number: Int, from store: Store) async throws -> RestoreResult {
    let guest = try BenchGuest(context, megabytes: Self.megabytes, incoming: "defer")
    try await guest.monitor().close()
    let result = try await Operations.restore(
      RestoreRequest(name: "guest-\(number)", qmp: guest.qmp), store: store)
    try await guest.check(reports: 4)
    return result
  }
}
