// From an engine's counters to what a person watches: rate and time left.

import MigrationEngine

/// Turns samples of an engine's counters into progress with a smoothed rate.
struct ProgressMeter {
  private let pageSize: UInt64
  private var last: (at: ContinuousClock.Instant, bytes: UInt64)?
  private var rate = 0.0

  init(targetPageSize: Int) { pageSize = UInt64(targetPageSize) }

  /// A sample of a machine coming in; `remaining` is what its source still counts as dirty.
  mutating func incoming(
    _ engine: MigrationProgress, phase: MoveProgress.Phase, remaining: UInt64? = nil
  ) -> MoveProgress {
    let done = (engine.zeroPages + engine.normalPages + engine.deltaPages) * pageSize
    update(done)
    return MoveProgress(
      phase: phase, bytesDone: done,
      bytesTotal: engine.totalRAMBytes > 0 ? engine.totalRAMBytes : nil, bytesPerSecond: rate,
      dirtyPages: remaining.map { $0 / pageSize }, zeroPages: engine.zeroPages,
      secondsLeft: secondsLeft(remaining ?? left(done, of: engine.totalRAMBytes)))
  }

  /// A sample of a machine going out.
  mutating func outgoing(
    _ engine: MigrationProgress, phase: MoveProgress.Phase
  ) -> MoveProgress {
    let total = engine.totalRAMBytes
    let done = total - min(total, engine.remainingRAMBytes)
    update(done)
    return MoveProgress(
      phase: phase, bytesDone: done, bytesTotal: total > 0 ? total : nil, bytesPerSecond: rate,
      zeroPages: engine.zeroPages, pageRequests: engine.pageRequests,
      secondsLeft: secondsLeft(engine.remainingRAMBytes))
  }

  private mutating func update(_ bytes: UInt64) {
    let now = ContinuousClock.now
    defer { last = (now, bytes) }
    guard let last, bytes >= last.bytes else { return }
    let seconds = (now - last.at).inSeconds
    guard seconds > 0 else { return }
    let sample = Double(bytes - last.bytes) / seconds
    // The weight of a sample grows with its length, so that the rate reflects about a second.
    let weight = min(1, seconds)
    rate = rate == 0 ? sample : rate * (1 - weight) + sample * weight
  }

  private func left(_ done: UInt64, of total: UInt64) -> UInt64 { total - min(total, done) }

  private func secondsLeft(_ bytes: UInt64) -> Double? {
    rate > 0 ? Double(bytes) / rate : nil
  }
}

extension Duration {
  /// The duration in seconds.
  var inSeconds: Double {
    Double(components.seconds) + Double(components.attoseconds) * 1e-18
  }

  /// The duration in milliseconds.
  var inMilliseconds: Double { inSeconds * 1e3 }
}
