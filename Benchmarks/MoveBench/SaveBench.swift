// How long a save takes beside QEMU writing the same machine to nowhere and onto the same disk, and
// what it stores.

import CheckpointStore
import DemoGuest
import Endpoints
import Foundation
import JSON
import QMP

/// Measures saves of one guest.
struct SaveBench {
  static let megabytes = 1024
  let context: BenchContext

  func run(_ table: inout BenchTable) async throws {
    let guest = try BenchGuest(context, megabytes: Self.megabytes)
    try await guest.waitUntilReady()
    let client = try await guest.monitor()
    try await client.stop()
    client.close()

    var plain: [Double] = []
    var files: [Double] = []
    var saves: [Double] = []
    for run in 0..<3 {
      plain.append(try await migrate(guest, to: "cat>/dev/null"))
      let file = context.path("stream-\(run)")
      // What a save promises: all of it on the disk, past the page cache as the store writes.
      files.append(
        try await migrate(
          guest, to: "dd of=\(file) bs=1M iflag=fullblock oflag=direct conv=fsync 2>/dev/null"))
      try FileManager.default.removeItem(atPath: file)
      sync()
      let store = try Store.open(at: context.path("save-\(run)"))
      let result = try await Operations.save(
        SaveRequest(qmp: guest.qmp, name: "full", then: .resume, compresses: true), store: store)
      saves.append(result.seconds)
      try FileManager.default.removeItem(atPath: store.path)
      // The disk is told of free blocks (`discard`) at the next commit: no part of the next save.
      sync()
      try await backFromMigration(guest)
    }
    let ratio = Runs.median(saves) / Runs.median(plain)
    table.add(
      "save, 1 GiB unique, against migrate exec:cat>/dev/null",
      String(
        format: "%.2f × (%.2f s / %.2f s)", ratio, Runs.median(saves), Runs.median(plain)),
      bar: "≤ 1.15 ×", met: ratio <= 1.15)
    table.add(
      "save, against QEMU's own stream brought onto that disk",
      String(
        format: "%.2f × (%.2f s / %.2f s)", Runs.median(saves) / Runs.median(files),
        Runs.median(saves), Runs.median(files)))
    try await second(guest, &table)
    try memory(of: ["save", "--qmp", guest.qmp, "--name", "child"], "saving 1 GiB", 300, &table)
  }

  /// The same machine through QEMU's own migration into a command, until that has ended.
  private func migrate(_ guest: BenchGuest, to command: String) async throws -> Double {
    let client = try await guest.monitor()
    defer { client.close() }
    let ended = context.path("ended")
    try? FileManager.default.removeItem(atPath: ended)
    try await client.setMigrationParameters([.init("max-bandwidth", 0)])
    let start = ContinuousClock.now
    try await client.migrate(to: "exec:\(command); touch \(ended)")
    while try await !client.migration().status.isTerminal
      || !FileManager.default.fileExists(atPath: ended)
    {
      try await Task.sleep(for: .milliseconds(5))
    }
    let seconds = (ContinuousClock.now - start) / .seconds(1)
    try await client.resume()
    try await client.stop()
    return seconds
  }

  private func backFromMigration(_ guest: BenchGuest) async throws {
    let client = try await guest.monitor()
    defer { client.close() }
    try await client.resume()
    try await client.stop()
  }

  /// A second save after the guest rewrote about a twentieth of its memory.
  private func second(_ guest: BenchGuest, _ table: inout BenchTable) async throws {
    let writer = try BenchGuest(context, megabytes: Self.megabytes, rate: 16)
    try await writer.waitUntilReady()
    let store = try Store.open(at: context.path("second"))
    let first = try await Operations.save(
      SaveRequest(qmp: writer.qmp, name: "first", mode: .paused), store: store)
    let before = writer.reports.last?.written ?? 0
    while (writer.reports.last?.written ?? 0) < before + first.ramBytes / 4096 / 20 {
      try await Task.sleep(for: .milliseconds(100))
    }
    let next = try await Operations.save(
      SaveRequest(qmp: writer.qmp, name: "second", mode: .paused), store: store)
    try await writer.check(reports: 3)
    let share = Double(next.storedBytes) / Double(first.storedBytes)
    table.add(
      "second save of a machine that changed 5 %",
      String(format: "stores %.1f %% of the first", share * 100), bar: "≤ 7 %", met: share <= 0.07)
    let usage = try store.usage()
    let ram = Double(first.ramBytes)
    table.add(
      "index, of the RAM it is for", String(format: "%.2f %%", Double(usage.index) / ram * 100),
      bar: "≤ 1.5 %", met: Double(usage.index) / ram <= 0.015)
    table.add(
      "manifest, of the RAM it is for",
      String(format: "%.2f %%", Double(usage.manifests) / 2 / ram * 100),
      bar: "≤ 0.3 %", met: Double(usage.manifests) / 2 / ram <= 0.003)
  }

  /// Runs the command as its own process and holds its peak memory against a bar in MiB.
  private func memory(
    of arguments: [String], _ what: String, _ bar: Int, _ table: inout BenchTable
  ) throws {
    let peak = try ChildProcess.peakMegabytes(arguments + ["--store", context.path("child")])
    table.add(
      "memory of godwit, \(what)", "\(peak) MiB", bar: "≤ \(bar) MiB", met: peak <= bar)
  }
}
