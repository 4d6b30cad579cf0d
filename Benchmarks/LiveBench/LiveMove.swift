// One move of a machine from one process to another, by QMP, over loopback.

import BenchHost
import Foundation
import JSON
import QMP

/// How a machine is moved.
struct LiveMove {
  /// When it runs at the destination.
  enum Mode {
    /// Once all of its memory is there.
    case precopy
    /// At once.
    case postcopy
  }

  var mode = Mode.precopy
  /// Whether requested pages have a connection of their own (`postcopy-preempt`).
  var usesPreempt = false
  /// The most bytes that are sent in a second; 0 for no limit.
  var bytesPerSecond: UInt64 = 0
  /// How long it may stand still.
  var downtimeMilliseconds = 30
  /// How much free memory the host is to have at hand, in bytes; 0 where that is not what counts.
  var expectedByteCount = 0

  /// What a move was like.
  struct Outcome {
    /// From `migrate` until the source called it completed.
    var seconds: Double
    /// From the source's STOP to the destination's RESUME, by the host's clock.
    var downtimeMilliseconds: Double
    /// Bytes that the source sent.
    var sentBytes: UInt64
    /// Processor seconds of both sides, without what they used when nothing moved.
    var sourceSeconds: Double
    var destinationSeconds: Double
    /// What the two sides say of the migration.
    var source: MigrationInfo
    var destination: MigrationInfo

    /// How long the processors waited for a page, in microseconds, by the whole of their waiting
    /// and the number of pages that were asked for: what every QEMU tells of.
    var meanWaitMicroseconds: Double? {
      guard let waits = destination.raw["postcopy-vcpu-blocktime"]?.array,
        let count = source.ram?.postcopyRequestCount, count > 0
      else { return nil }
      return waits.compactMap(\.double).reduce(0, +) * 1000 / Double(count)
    }
  }

  /// Moves a machine to a process that waits for it.
  func run(from source: LiveMachine, to destination: LiveMachine) async throws -> Outcome {
    try await prepare(source, destination)
    let place = try await listen(destination.client)
    let (sourceEvents, destinationEvents) = (source.client.events(), destination.client.events())
    let idle = try await idleShare(source)
    if expectedByteCount > 0 { try FreeMemory.touch(byteCount: expectedByteCount * 5 / 4) }
    let used = (source.processorSeconds, destination.processorSeconds)
    let begin = ContinuousClock.now
    try await source.client.migrate(to: place)
    if mode == .postcopy { try await source.client.migrateStartPostcopy() }
    let info = try await Self.end(of: source.client, "source")
    let seconds = (ContinuousClock.now - begin) / .seconds(1)
    let arrived = try await Self.end(of: destination.client, "destination")
    let (stop, resume) = (
      try await Self.time(of: "STOP", in: sourceEvents),
      try await Self.time(of: "RESUME", in: destinationEvents)
    )
    return Outcome(
      seconds: seconds, downtimeMilliseconds: (resume - stop) * 1000,
      sentBytes: info.ram?.transferredByteCount ?? 0,
      sourceSeconds: max(0, source.processorSeconds - used.0 - idle * seconds),
      destinationSeconds: destination.processorSeconds - used.1, source: info,
      destination: arrived)
  }

  private func prepare(_ source: LiveMachine, _ destination: LiveMachine) async throws {
    // The answer over the same connection is the end of the move, whoever moves.
    let isPostcopy = mode == .postcopy
    var shared = ["postcopy-ram": isPostcopy]
    if usesPreempt { shared["postcopy-preempt"] = true }
    try await source.client.setMigrationCapabilities(
      shared.merging(["return-path": true]) { $1 })
    try await destination.client.setMigrationCapabilities(
      shared.merging(["postcopy-blocktime": isPostcopy]) { $1 })
    try await source.client.setMigrationParameters([
      JSONMember("max-bandwidth", JSONValue(bytesPerSecond == 0 ? 1 << 40 : bytesPerSecond)),
      JSONMember("downtime-limit", JSONValue(downtimeMilliseconds)),
    ])
  }

  /// Has the destination listen on a free port.
  /// - Returns: where, as a URI.
  private func listen(_ client: QMPClient) async throws -> String {
    try await client.migrateIncoming(from: "tcp:127.0.0.1:0")
    for _ in 0..<500 {
      let address = try await client.migration().socketAddresses.first
      if let port = address?["port"]?.string, port != "0" { return "tcp:127.0.0.1:\(port)" }
      try await Task.sleep(for: .milliseconds(10))
    }
    throw BenchError("the destination does not say where it listens")
  }

  /// How much of a processor the machine uses when nothing moves, from 0 to the number of its
  /// threads.
  private func idleShare(_ machine: LiveMachine) async throws -> Double {
    let (begin, used) = (ContinuousClock.now, machine.processorSeconds)
    try await Task.sleep(for: .milliseconds(500))
    return (machine.processorSeconds - used) / ((ContinuousClock.now - begin) / .seconds(1))
  }

  private static func end(of client: QMPClient, _ side: String) async throws -> MigrationInfo {
    let deadline = ContinuousClock.now + .seconds(300)
    while true {
      let info = try await client.migration()
      switch info.status {
      case .completed: return info
      case .failed, .cancelled, .postcopyPaused:
        throw BenchError(
          "the \(side) says \(info.status.word): \(info.errorDescription ?? "no reason")")
      default: break
      }
      guard ContinuousClock.now < deadline else {
        throw BenchError("a move did not end within five minutes: \(info.raw)")
      }
      // Seldom enough not to be what is measured.
      try await Task.sleep(for: .milliseconds(5))
    }
  }

  /// When an event happened, in seconds.
  private static func time(
    of name: String, in events: AsyncStream<QMPEvent>
  ) async throws -> Double {
    for await event in events where event.name == name {
      return Double(event.timestamp.seconds) + Double(event.timestamp.microseconds) / 1e6
    }
    throw BenchError("there was no \(name)")
  }
}
