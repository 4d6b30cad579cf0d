// How often progress is shown: often enough to watch, seldom enough to read or to log.

/// Decides which samples of progress to show.
///
/// Knows no clock: times are handed in.
struct ProgressPacing {
  private let interval: Duration
  private let delay: Duration
  private var lastShown: Duration?
  private var lastPhase: String?

  /// Shows a sample at most once an `interval`, and at every change of phase.
  ///
  /// Nothing is shown during the first `delay`, so that quick work passes without a word.
  init(interval: Duration, delay: Duration = .zero) {
    self.interval = interval
    self.delay = delay
  }

  /// Whether to show a sample that arrives now, `elapsed` after the start.
  mutating func admits(_ phase: String, at elapsed: Duration) -> Bool {
    guard elapsed >= delay else { return false }
    if phase == lastPhase, let lastShown, elapsed - lastShown < interval { return false }
    lastShown = elapsed
    lastPhase = phase
    return true
  }
}
