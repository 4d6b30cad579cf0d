// How fast a quiet machine's memory goes over, beside a bare socket and beside QEMU.

import Endpoints
import Foundation

/// Precopies of a quiet machine.
struct PrecopyRun {
  static let work = LiveMachine.Work(megabytes: 2048)
  private static let rounds = 3

  let bench: Bench
  /// Nil where there is none, or it is not wanted.
  let qemu: InstalledQEMU?

  func run(_ table: inout BenchTable) async throws {
    let bytes = Self.work.megabytes << 20
    var plain: [Double] = []
    var moves: [LiveMove.Outcome] = []
    var machine = try await LiveMachine.godwit(bench, Self.work)
    try await machine.require(reports: 1)
    for _ in 0..<Self.rounds {
      plain.append(try PlainCopy.seconds(byteCount: bytes))
      let next = try await LiveMachine.godwit(bench, Self.work, isIncoming: true)
      moves.append(
        try await LiveMove(expectedByteCount: Self.work.megabytes << 20).run(
          from: machine, to: next))
      try await next.require(reports: 2)
      machine.end()
      machine = next
    }
    machine.end()
    let (bare, own) = (Runs(plain), Runs(moves.map(\.seconds)))
    table.add("a bare socket copies 2 GiB", bare.text("s"))
    let ratio = bare.median / own.median
    table.add(
      "a quiet machine of 2 GiB, running, precopy",
      own.text("s") + String(format: ": %.2f × the socket's speed", ratio), bar: "≥ 0.8 ×",
      met: ratio >= 0.8)
    processors("processor seconds a GiB, source and destination", moves, &table)
    guard let qemu else {
      table.add("the same, QEMU to QEMU", "skipped: there is no qemu-system-x86_64, or --no-qemu")
      return
    }
    for sharesMemory in [false, true] {
      try await compare(with: qemu, sharesMemory: sharesMemory, own.median, &table)
    }
  }

  private func compare(
    with qemu: InstalledQEMU, sharesMemory: Bool, _ own: Double, _ table: inout BenchTable
  ) async throws {
    var moves: [LiveMove.Outcome] = []
    func start(isIncoming: Bool = false) async throws -> LiveMachine {
      try await LiveMachine.qemu(
        qemu.command, bench, Self.work, isIncoming: isIncoming, sharesMemory: sharesMemory)
    }
    var machine = try await start()
    try await machine.require(reports: 1)
    for _ in 0..<Self.rounds {
      let next = try await start(isIncoming: true)
      moves.append(
        try await LiveMove(expectedByteCount: Self.work.megabytes << 20).run(
          from: machine, to: next))
      try await next.require(reports: 2)
      machine.end()
      machine = next
    }
    machine.end()
    let times = Runs(moves.map(\.seconds))
    let ratio = times.median / own
    table.add(
      "the same, QEMU \(qemu.version ?? "") to QEMU, \(sharesMemory ? "shared" : "private") memory",
      times.text("s") + String(format: ": Godwit %.1f × as fast", ratio), bar: "≥ 2 ×",
      met: ratio >= 2)
    processors("its processor seconds a GiB, source and destination", moves, &table)
  }

  private func processors(
    _ what: String, _ moves: [LiveMove.Outcome], _ table: inout BenchTable
  ) {
    let size = Double(Self.work.megabytes) / 1024
    let (source, destination) = (
      Runs(moves.map { $0.sourceSeconds / size }), Runs(moves.map { $0.destinationSeconds / size })
    )
    table.add(what, String(format: "%.2f + %.2f", source.median, destination.median))
  }
}
