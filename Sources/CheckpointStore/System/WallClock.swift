// The time of day, for the catalogue.

import CLinux
import Glibc

/// Seconds since 1970 (UTC).
func wallClockSeconds() -> Double {
  var time = timespec()
  // SAFETY: `time` is a whole struct timespec.
  unsafe clock_gettime(CLOCK_REALTIME, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}
