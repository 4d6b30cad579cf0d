// A rate that changes, measured over windows: what it is by and large, how much it varies, and what
// may be counted on.

/// Bytes a second, smoothed.
public struct RateMeter: Sendable, Equatable {
  /// How much the latest window counts.
  private static let weight = 0.3

  /// The smoothed rate in bytes a second; nil before the first window is full.
  public private(set) var mean: Double?
  /// The rate of the latest window.
  public private(set) var latest: Double?
  /// How far windows are from the mean by and large, in bytes a second.
  public private(set) var deviation: Double = 0

  private let shortestWindow: Duration
  private var bytes: UInt64 = 0
  private var time: Duration = .zero

  /// A meter that has measured nothing.
  /// - Parameter shortestWindow: what is shorter is added to what follows.
  public init(shortestWindow: Duration) {
    self.shortestWindow = shortestWindow
  }

  /// Takes note of so many bytes in so much time.
  public mutating func add(_ byteCount: UInt64, in duration: Duration) {
    bytes &+= byteCount
    time += max(.zero, duration)
    guard time >= shortestWindow, time > .zero else { return }
    let rate = Double(bytes) / time.inSeconds
    (bytes, time) = (0, .zero)
    latest = rate
    guard let mean else {
      mean = rate
      return
    }
    deviation += (abs(rate - mean) - deviation) * Self.weight
    self.mean = mean + (rate - mean) * Self.weight
  }

  /// What may be counted on: the lower of the mean and the latest; what there is of the first
  /// window before that is full.
  public var cautious: Double? {
    if let mean, let latest { return min(mean, latest) }
    return time > .milliseconds(1) ? Double(bytes) / time.inSeconds : nil
  }
}

extension Duration {
  /// The duration in seconds.
  var inSeconds: Double {
    let (seconds, attoseconds) = components
    return Double(seconds) + Double(attoseconds) * 1e-18
  }
}
