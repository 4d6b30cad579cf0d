// The time of day, for the stamps of events.

import Glibc

extension QMPEvent.Timestamp {
  /// The time of day, to the microsecond; -1 in both where there is no clock.
  public static func now() -> QMPEvent.Timestamp {
    var time = timespec()
    // SAFETY: the kernel fills the local structure.
    guard unsafe clock_gettime(CLOCK_REALTIME, &time) == 0 else {
      return QMPEvent.Timestamp(seconds: -1, microseconds: -1)
    }
    return QMPEvent.Timestamp(
      seconds: Int64(time.tv_sec), microseconds: Int64(time.tv_nsec / 1000))
  }
}
