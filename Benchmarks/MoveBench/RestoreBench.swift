// How soon a guest runs, how often it waits for a page, and how long.

import CheckpointStore
import Endpoints
import Foundation
import QMP
import Synchronization
import Transport

/// Measures restores of guests of several sizes.
struct RestoreBench {
  /// Restores per size.
  static let runs = 10
  let context: BenchContext

  func run(_ table: inout BenchTable, megabytes: [Int]) async throws {
    for size in megabytes {
      let store = try Store.open(at: context.path("restore-\(size)"))
      try await save(size, into: store)
      let instants = try await instantRestores(size, from: store)
      let median = Runs.median(instants)
      table.add(
        "restore, connection to guest running, \(size) MiB", Runs.spread(instants, "ms"),
        bar: "≤ 10 ms (median of 10)", met: median <= 10)
      if size == 1024 { try await pageRequests(size, from: store, &table) }
      if size == 4096 { try await againstQEMU(size, from: store, median, &table) }
      try FileManager.default.removeItem(atPath: store.path)
    }
  }

  private func save(
    _ size: Int, rate: Int = 10, check: Int = 16, into store: Store
  ) async throws {
    let guest = try BenchGuest(context, megabytes: size, rate: rate, check: check)
    try await guest.waitUntilReady()
    _ = try await Operations.save(
      SaveRequest(qmp: guest.qmp, name: "guest", mode: .paused), store: store)
  }

  /// The times to a running guest; each restore is given up once that is known.
  private func instantRestores(_ size: Int, from store: Store) async throws -> [Double] {
    var times: [Double] = []
    for _ in 0..<Self.runs {
      let guest = try BenchGuest(context, megabytes: size, incoming: "defer")
      try await guest.monitor().close()
      let began = RunningTime()
      let restore = Task {
        try await Operations.restore(
          RestoreRequest(name: "guest", qmp: guest.qmp), store: store,
          observer: MoveObserver(running: { began.set($0) }))
      }
      let deadline = ContinuousClock.now + .seconds(60)
      while began.milliseconds == nil && ContinuousClock.now < deadline {
        try await Task.sleep(for: .milliseconds(5))
      }
      restore.cancel()
      _ = await restore.result
      guard let milliseconds = began.milliseconds else {
        throw BenchError("a guest of \(size) MiB did not run within a minute")
      }
      times.append(milliseconds)
    }
    return times
  }
}

extension RestoreBench {
  /// How often the guest asks for pages at its first and at its second restore, and how long a
  /// request takes.
  private func pageRequests(
    _ size: Int, from store: Store, _ table: inout BenchTable
  ) async throws {
    try await secondRestore(size, rate: 10, check: 16, "hurried", &table)
    let fresh = try await secondRestore(size, rate: 2, check: 4, "calm", &table)
    let guest = try BenchGuest(context, megabytes: size, incoming: "defer")
    try await guest.monitor().close()
    let peak = try ChildProcess.peakMegabytes(
      ["restore", "guest", "--qmp", guest.qmp, "--store", fresh.path])
    table.add(
      "memory of godwit, restoring \(size) MiB", "\(peak) MiB", bar: "≤ 200 MiB", met: peak <= 200)
    try FileManager.default.removeItem(atPath: fresh.path)
  }

  /// Restores a guest twice from a store that knows nothing of it at first.
  ///
  /// The more cold memory a guest goes over in a second, the more it asks for that the first
  /// restore brought it unasked.
  @discardableResult
  private func secondRestore(
    _ size: Int, rate: Int, check: Int, _ mood: String, _ table: inout BenchTable
  ) async throws -> Store {
    let store = try Store.open(at: context.path("\(mood)-\(size)"))
    try await save(size, rate: rate, check: check, into: store)
    let first = try await whole(size, from: store)
    let second = try await whole(size, from: store)
    let guest = "\(mood) guest (\(rate + check) MiB/s)"
    if let latency = first.requestMicroseconds {
      table.add(
        "page request, read to written: p50 / p99, \(guest)",
        String(format: "%.0f µs / %.0f µs", latency.p50, latency.p99), bar: "≤ 100 µs / ≤ 1 ms",
        met: latency.p50 <= 100 && latency.p99 <= 1000)
    }
    let fewer = 1 - Double(second.pageRequests) / Double(first.pageRequests)
    table.add(
      "second restore: fewer page requests, \(guest)",
      String(
        format: "%.0f %% fewer (%d, then %d)", fewer * 100, Int(first.pageRequests),
        Int(second.pageRequests)), bar: "≥ 80 % fewer",
      met: fewer >= 0.8)
    return store
  }

  private func whole(_ size: Int, from store: Store) async throws -> RestoreResult {
    let guest = try BenchGuest(context, megabytes: size, incoming: "defer")
    try await guest.monitor().close()
    let result = try await Operations.restore(
      RestoreRequest(name: "guest", qmp: guest.qmp), store: store)
    try await guest.check(reports: 4)
    return result
  }

  /// The same guest loaded by QEMU itself from a file of its own making.
  private func againstQEMU(
    _ size: Int, from store: Store, _ median: Double, _ table: inout BenchTable
  ) async throws {
    let file = context.path("stream")
    _ = try await Operations.send(
      StreamRequest(uri: .file(path: file, offset: 0), name: "guest"), store: store)
    let guest = try BenchGuest(context, megabytes: size, incoming: "defer")
    let client = try await guest.monitor()
    defer { client.close() }
    let start = ContinuousClock.now
    try await client.migrateIncoming(from: "exec:cat \(file)")
    // Before it has begun to load, QEMU reports no migration at all.
    var status = QMP.MigrationStatus.none
    while status != .completed {
      guard status != .failed else { throw BenchError("QEMU did not load the stream") }
      try await Task.sleep(for: .milliseconds(2))
      status = try await client.migration().status
    }
    let milliseconds = (ContinuousClock.now - start) / .milliseconds(1)
    let ratio = milliseconds / median
    table.add(
      "against QEMU's -incoming exec:cat FILE, \(size) MiB",
      String(format: "%.0f × faster (%.0f ms)", ratio, milliseconds), bar: "≥ 100 ×",
      met: ratio >= 100)
    try FileManager.default.removeItem(atPath: file)
  }
}

/// When a guest began to run, told from another thread.
final class RunningTime: Sendable {
  private let value = Mutex<Double?>(nil)
  func set(_ milliseconds: Double) { value.withLock { $0 = $0 ?? milliseconds } }
  var milliseconds: Double? { value.withLock { $0 } }
}
