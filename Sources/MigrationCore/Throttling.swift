// When a machine that writes faster than its pages go is slowed down, and how far: QEMU's rules
// (auto-converge, dirty-limit) under QEMU's parameters.

/// How a machine may be slowed down.
public enum ThrottlingPolicy: Sendable, Equatable {
  /// Not at all.
  case none
  /// Its processors rest for a share of the time, a larger one each time (`auto-converge`).
  ///
  /// - `trigger`: bytes written, in percent of bytes sent, beyond which it is slowed down.
  /// - `initial`, `increment`, `maximum`: the share in percent.
  /// - `tailslow`: whether the last steps are no larger than what is needed.
  case autoConverge(trigger: Int, initial: Int, increment: Int, maximum: Int, tailslow: Bool)
  /// Each of its processors may write so many bytes a second (`dirty-limit`).
  case dirtyLimit(trigger: Int, bytesPerSecond: UInt64)
}

/// How a machine is slowed down at present.
public enum Throttle: Sendable, Equatable {
  /// Its processors rest for this share of the time, in percent, 1 to 99.
  case rest(percent: Int)
  /// Each of its processors may write so many bytes a second.
  case dirtyRate(bytesPerSecond: UInt64)
}

/// Decides about slowing a machine down, from what it writes and what goes out.
public struct Throttling: Sendable, Equatable {
  /// Shorter periods say nothing about a rate.
  static let shortestPeriod: Duration = .seconds(1)
  /// How often the dirty log is read at the least, so that a long round does not hide what happens.
  static let longestRound: Duration = .seconds(5)
  /// Periods of too much writing before something is done about it.
  private static let patience = 2

  /// How the machine is to be slowed down; nil leaves it alone.
  public private(set) var due: Throttle?

  private var policy: ThrottlingPolicy
  private var periodStart: Duration = .zero
  private var sentBefore: UInt64 = 0
  private var dirtiedInPeriod: UInt64 = 0
  private var busyPeriodCount = 0
  private var hasEndedFirstRound = false

  init(_ policy: ThrottlingPolicy) {
    self.policy = policy
  }

  mutating func change(_ policy: ThrottlingPolicy) {
    guard policy != self.policy else { return }
    self.policy = policy
    if policy == .none { due = nil }
    if case .dirtyLimit(_, let rate) = policy, case .dirtyRate = due {
      due = .dirtyRate(bytesPerSecond: rate)
    }
  }

  /// Whether the dirty log is to be read in the middle of a round.
  func forcesSync(at now: Duration, _ lastSync: Duration) -> Bool {
    policy != .none && hasEndedFirstRound && now - lastSync >= Self.longestRound
  }

  /// The dirty log was read: `dirtied` bytes were written since it was last, `sent` bytes of memory
  /// went out since the beginning.
  mutating func synced(_ dirtied: UInt64, sent: UInt64, at now: Duration) {
    hasEndedFirstRound = true
    dirtiedInPeriod &+= dirtied
    guard now - periodStart >= Self.shortestPeriod else { return }
    let transferred = sent &- sentBefore
    let isTooMuch = trigger.map { dirtiedInPeriod / 100 > transferred / 10_000 * UInt64($0) }
    if isTooMuch == true {
      busyPeriodCount += 1
      if busyPeriodCount >= Self.patience {
        busyPeriodCount = 0
        slowDown(dirtied: dirtiedInPeriod, transferred: transferred)
      }
    }
    periodStart = now
    sentBefore = sent
    dirtiedInPeriod = 0
  }

  private var trigger: Int? {
    switch policy {
    case .none: nil
    case .autoConverge(let trigger, _, _, _, _), .dirtyLimit(let trigger, _): trigger
    }
  }

  private mutating func slowDown(dirtied: UInt64, transferred: UInt64) {
    switch policy {
    case .none: return
    case .dirtyLimit(_, let rate): due = .dirtyRate(bytesPerSecond: rate)
    case .autoConverge(let trigger, let initial, let increment, let maximum, let tailslow):
      guard case .rest(let percent) = due else {
        due = .rest(percent: min(max(initial, 1), maximum))
        return
      }
      var step = increment
      if tailslow, dirtied > 0 {
        // What the processors do now, scaled down to what the trigger allows.
        let allowed = Double(transferred) * Double(trigger) / 100 / Double(dirtied)
        let ideal = Int(Double(100 - percent) * min(1, allowed))
        step = min(increment, max(1, 100 - percent - ideal))
      }
      due = .rest(percent: min(percent + step, maximum))
    }
  }
}
