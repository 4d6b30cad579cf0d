// How long requests took, in buckets that are an eighth of an octave wide: percentiles within
// nine per cent of the truth, in 4 KiB, whatever the number of requests.

/// The distribution of a latency.
public struct LatencySummary: Sendable, Equatable {
  /// How many were measured.
  public var count: UInt64 = 0
  /// Half of them took no longer.
  public var p50: Duration = .zero
  /// Ninety-nine in a hundred took no longer.
  public var p99: Duration = .zero
  /// The longest.
  public var maximum: Duration = .zero

  /// Nothing measured.
  public init() {}
}

/// Counts latencies by their magnitude.
public struct LatencyHistogram: Sendable {
  private static let subdivisions = 8
  /// How many buckets there are.
  public static let bucketCount = 64 * subdivisions

  private var buckets = [UInt64](repeating: 0, count: bucketCount)
  private var count: UInt64 = 0
  private var maximum: UInt64 = 0

  /// Nothing counted.
  public init() {}

  /// What somebody else has counted, by ``bucket(of:)``.
  public init(buckets: [UInt64], maximumNanoseconds: UInt64) {
    precondition(buckets.count == Self.bucketCount, "all buckets")
    self.buckets = buckets
    count = buckets.reduce(0, &+)
    maximum = maximumNanoseconds
  }

  mutating func record(_ latency: Duration) {
    let nanoseconds = UInt64(max(0, latency.nanoseconds))
    buckets[Self.bucket(of: nanoseconds)] += 1
    count += 1
    maximum = max(maximum, nanoseconds)
  }

  /// The distribution of what was counted.
  public var summary: LatencySummary {
    var summary = LatencySummary()
    summary.count = count
    summary.p50 = .nanoseconds(percentile(50))
    summary.p99 = .nanoseconds(percentile(99))
    summary.maximum = .nanoseconds(maximum)
    return summary
  }

  private func percentile(_ percent: UInt64) -> UInt64 {
    guard count > 0 else { return 0 }
    let wanted = (count * percent + 99) / 100
    var seen: UInt64 = 0
    for (index, members) in buckets.enumerated() {
      seen += members
      if seen >= wanted { return min(maximum, Self.upperBound(of: index)) }
    }
    return maximum
  }

  /// The bucket of so many nanoseconds.
  public static func bucket(of value: UInt64) -> Int {
    guard value >= UInt64(subdivisions) else { return Int(value) }
    let octave = 63 - value.leadingZeroBitCount
    let part = Int(value >> UInt64(octave - 3)) & (subdivisions - 1)
    return (octave - 2) * subdivisions + part
  }

  private static func upperBound(of bucket: Int) -> UInt64 {
    guard bucket >= subdivisions else { return UInt64(bucket) }
    let octave = bucket / subdivisions + 2
    let part = UInt64(bucket % subdivisions)
    return (UInt64(subdivisions) + part + 1) << UInt64(octave - 3) - 1
  }
}

extension Duration {
  /// The whole of it in nanoseconds; latencies and moves are far shorter than 2^63 of them.
  var nanoseconds: Int64 {
    components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
  }
}
