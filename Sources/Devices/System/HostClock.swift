// The host's clock.

import CLinux
import Glibc

/// Reads the host's clock.
enum HostClock {
  /// The time of day, in UTC.
  static var now: WallTime {
    var time = timespec()
    // SAFETY: the call fills the local.
    unsafe clock_gettime(CLOCK_REALTIME, &time)
    return WallTime(
      nanoseconds: Int64(time.tv_sec) * WallTime.nanosecondsPerSecond + Int64(time.tv_nsec))
  }
}
