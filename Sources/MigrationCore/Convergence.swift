// Whether a move comes to its end: how fast pages go and are written again, when what is left fits
// the downtime, and what that says about the time still needed.

/// The rates of a move of a running machine, and what follows from them.
public struct Convergence: Sendable {
  /// What stopping, the last reading of the log, the device state and its loading take together,
  /// beside the pages: measured at a few milliseconds, and never more than a quarter of the limit.
  static let switchoverCost: Duration = .milliseconds(4)
  /// The share of the limit that is aimed at as long as rounds get smaller: the rest is for what
  /// cannot be foreseen.
  static let aim = 0.5
  /// A round that leaves more than this share of the one before no longer gets smaller.
  static let shrinkage = 0.75

  /// What was asked of the move.
  public internal(set) var settings: LiveSettings
  /// Bytes of memory that went out since the beginning.
  public private(set) var sentByteCount: UInt64 = 0
  /// Bytes of memory that go out in a second.
  ///
  /// Waits for a bandwidth limit count, although there is none once the machine stands: what a
  /// socket takes in between tells how large its buffer is, and nothing about the link.
  public private(set) var throughput = RateMeter(shortestWindow: .milliseconds(100))
  /// Bytes of memory that are written in a second, each page counted once a round.
  public private(set) var dirtying = RateMeter(shortestWindow: .milliseconds(1))

  private var remaining: UInt64 = 0
  private var lastLeft: UInt64?
  private var lastSyncAt: Duration = .zero

  init(_ settings: LiveSettings) {
    self.settings = settings
  }

  mutating func begin(remaining: UInt64, at now: Duration) {
    self.remaining = remaining
    lastSyncAt = now
  }

  mutating func sent(_ byteCount: UInt64, in duration: Duration, remaining: UInt64) {
    self.remaining = remaining
    sentByteCount &+= byteCount
    throughput.add(byteCount, in: duration)
  }

  mutating func heldBack(for duration: Duration) { throughput.add(0, in: duration) }

  mutating func synced(_ dirtied: UInt64, remaining: UInt64, at now: Duration) {
    self.remaining = remaining
    dirtying.add(dirtied, in: now - lastSyncAt)
    lastSyncAt = now
  }

  // MARK: The downtime

  /// The bytes a second that are counted on while the machine stands still; nil while nothing was
  /// measured.
  public var switchoverBandwidth: Double? {
    if let given = settings.switchoverBandwidth { return Double(given) }
    return throughput.cautious
  }

  /// The bytes that fit into a share of the downtime limit.
  private func budget(_ share: Double) -> Double? {
    guard let rate = switchoverBandwidth else { return nil }
    let limit = settings.downtimeLimit.inSeconds
    let cost = min(Self.switchoverCost.inSeconds, limit / 4)
    return rate * max(0, limit * share - cost)
  }

  /// How long the machine would stand still if it were stopped now; nil while nothing was measured.
  public var expectedDowntime: Duration? {
    guard let rate = switchoverBandwidth, rate > 0 else { return nil }
    return .seconds(min(Double(remaining) / rate, 1e9)) + Self.switchoverCost
  }

  /// Whether so few bytes are left of a round that looking at what was written may end the move.
  func mayFit(_ remaining: UInt64) -> Bool {
    guard let budget = budget(Self.aim) else { return false }
    return Double(remaining) <= budget
  }

  /// Whether the machine is to be stopped with so many bytes left, the log just read.
  ///
  /// What is aimed at is half of the limit; all of it is used once rounds no longer get smaller.
  mutating func fits(_ left: UInt64) -> Bool {
    defer { lastLeft = left }
    if left == 0 { return true }
    if let aim = budget(Self.aim), Double(left) <= aim { return true }
    guard let limit = budget(1), Double(left) <= limit, let lastLeft else { return false }
    return Double(left) > Double(lastLeft) * Self.shrinkage
  }

  // MARK: What is to be expected

  /// How the move is likely to go on; nil while too little was measured.
  public var prediction: Prediction? {
    guard let rate = throughput.mean, rate > 0 else { return nil }
    let goal = budget(1) ?? 0
    let written = dirtying.mean ?? 0
    guard Double(remaining) > goal || written > 0 else { return .ends(within: .zero, give: .zero) }
    // Rounds get smaller by this factor; what is written while they go out is sent again.
    let factor = written / rate
    guard factor < 1 else {
      return .neverEnds(writtenBytesPerSecond: written, sentBytesPerSecond: rate)
    }
    func time(_ rate: Double, _ written: Double) -> Double? {
      guard rate > written else { return nil }
      return max(0, Double(remaining) - goal) / (rate - written)
    }
    guard let likely = time(rate, written) else { return nil }
    // Both rates may be off by what they varied so far.
    let late = time(rate - throughput.deviation, written + dirtying.deviation)
    let spread = late.map { $0 - likely } ?? likely * 3
    return .ends(
      within: .seconds(min(likely, 1e9)), give: .seconds(min(max(spread, likely * 0.1), 1e9)))
  }
}

/// How a move is likely to go on.
public enum Prediction: Sendable, Equatable {
  /// It can stop the machine after this time, give or take.
  case ends(within: Duration, give: Duration)
  /// At these rates it never gets there: more is written than goes out.
  case neverEnds(writtenBytesPerSecond: Double, sentBytesPerSecond: Double)
}
