// How urgently a guest asks for its pages: what is under way when it asks is what it waits behind.

/// Takes note of when pages were asked for.
struct RequestPace: Sendable {
  /// How many intervals the usual one is made of, roughly.
  private static let memory = 8
  /// Beyond this usual interval requests are few.
  private static let fewAfter: Duration = .milliseconds(1)

  /// The longest interval that counts as such: a longer one says no more, and would be remembered
  /// through most of the burst behind it.
  private static let longest: Duration = .milliseconds(10)

  /// When the last one came.
  private(set) var last: ContinuousClock.Instant?
  /// The usual time between two requests, to which each one adds a share.
  private var interval: Duration = .zero

  /// Takes note of a request.
  mutating func note(_ arrival: ContinuousClock.Instant) {
    if let last {
      let sample = min(max(.zero, arrival - last), Self.longest)
      interval += (sample - interval) / Self.memory
    }
    last = arrival
  }

  /// Whether they come so seldom that more may be under way than while they come one upon another.
  func areFew(at now: ContinuousClock.Instant) -> Bool {
    guard let last else { return false }
    return max(interval, now - last) > Self.fewAfter
  }
}
