// How often progress is shown: often enough to watch, seldom enough to read or to log.

/// Decides which samples of progress to show.
///
/// Knows no clock: times are handed in.
struct ProgressPacing {
  private let interval: Duration
  private var lastShown: Duration?
  private var lastPhase: String?

  /// Shows a sample at most once an `interval`, and at every change of phase.
  init(interval: Duration) { self.interval = interval }

  /// Whether to show a sample that arrives now, `elapsed` after the start.
  mutating func admits(_ phase: String, at elapsed: Duration) -> Bool {
    if phase == lastPhase, let lastShown, elapsed - lastShown < interval { return false }
    lastShown = elapsed
    lastPhase = phase
    return true
  }
}
