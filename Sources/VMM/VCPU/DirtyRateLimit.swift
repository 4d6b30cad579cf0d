// Holding a processor to a rate of writing, by its dirty ring: a full ring is so many pages, and
// the time that filling it took says how fast they were written.

import Synchronization

/// The most bytes a second that one processor may write, kept when its dirty ring is full.
final class DirtyRateLimit: Sendable {
  /// The limit in bytes a second; 0 for none.
  private let limit = Atomic<UInt64>(0)
  /// Bytes of memory that a full ring stands for.
  private let ringByteCount: UInt64

  /// - Parameter entryCount: entries of a processor's ring; 0 where there is none, and no limit is
  ///   kept.
  init(entryCount: Int) {
    ringByteCount = UInt64(entryCount) * 4096
  }

  /// Whether there are rings to keep a limit by.
  var isKept: Bool { ringByteCount > 0 }

  /// Sets the limit; nil lifts it.
  func set(bytesPerSecond: UInt64?) {
    limit.store(bytesPerSecond ?? 0, ordering: .relaxed)
  }

  /// How long a processor rests whose ring was filled in so much time.
  func rest(afterFillingIn time: Duration) -> Duration {
    let limit = limit.load(ordering: .relaxed)
    guard limit > 0 else { return .zero }
    let due = Duration.seconds(Double(ringByteCount) / Double(limit))
    return min(max(.zero, due - time), .seconds(1))
  }
}
