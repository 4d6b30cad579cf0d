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
      try PageCache.read(folder: store.path + "/packs")
      let instants = try await instantRestores(size, from: store)
      let median = Runs.median(instants)
      table.add(
        "restore, connection to guest running, \(size) MiB", Runs.spread(instants, "ms"),
        bar: "≤ 10 ms (median of 10)", met: median <= 10)
      if size == 4096 { try await againstQEMU(size, from: store, median, &table) }
      try FileManager.default.removeItem(atPath: store.path)
    }
  }

  private func save(_ size: Int, into store: Store) async throws {
    let guest = try BenchGuest(context, megabytes: size, rate: 10, check: 16)
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
