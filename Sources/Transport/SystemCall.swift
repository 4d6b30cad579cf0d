// How this module makes system calls: interrupted ones again, results and errors in one value.

import Glibc

/// Conventions shared by every system call of the module.
enum SystemCall {
  /// Makes the call until no signal interrupts it.
  /// - Returns: the call's result, or its error number negated.
  @inline(__always)
  static func repeating(_ call: () -> Int) -> Int {
    while true {
      let result = call()
      if result >= 0 { return result }
      let code = errno
      if code != EINTR { return -Int(code) }
    }
  }

  /// The kernel's words for an error number.
  static func text(of code: Int32) -> String {
    // SAFETY: strerror answers a terminated string, which is copied at once. Another thread's
    // call may change it only for numbers that the C library does not know.
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }

  /// The error numbers on which there is something to advise.
  enum Known {
    case refused, missing, denied, inUse, full, other

    init(_ code: Int32) {
      switch code {
      case ECONNREFUSED: self = .refused
      case ENOENT: self = .missing
      case EACCES, EPERM: self = .denied
      case EADDRINUSE: self = .inUse
      case ENOSPC, EDQUOT: self = .full
      default: self = .other
      }
    }
  }

  /// Whether an error number says that a file cannot take what is written to it.
  static func meansNoRoom(_ code: Int32) -> Bool {
    [ENOSPC, EDQUOT, EFBIG, EIO, EROFS].contains(code)
  }

  /// Whether an error number says that the peer is gone.
  static func meansPeerGone(_ code: Int32) -> Bool {
    code == EPIPE || code == ECONNRESET || code == ECONNABORTED
  }

  /// What a wait ended with.
  enum Readiness { case ready, woken, timedOut, failed(Int32) }

  /// Waits until a descriptor is ready (or broken, which its next use reports).
  /// - Parameters:
  ///   - descriptor: what is waited for.
  ///   - events: POLLIN, POLLOUT.
  ///   - wake: ends the wait when it is raised.
  ///   - deadline: when to give up; nil waits for ever.
  static func wait(
    for descriptor: Int32, events: Int32, wake: borrowing WakeEvent,
    deadline: ContinuousClock.Instant?
  ) -> Readiness {
    while true {
      var timeout: Int32 = -1
      if let deadline {
        let (seconds, attoseconds) = (deadline - .now).components
        let milliseconds = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        timeout = seconds < 0 || attoseconds < 0 ? 0 : Int32(clamping: milliseconds + 1)
      }
      var polled = [
        pollfd(fd: descriptor, events: Int16(events), revents: 0),
        pollfd(fd: wake.raw, events: Int16(POLLIN), revents: 0),
      ]
      // SAFETY: the array holds two entries for the duration of the call.
      let count = unsafe poll(&polled, 2, timeout)
      if count < 0 {
        if errno == EINTR { continue }
        return .failed(errno)
      }
      if polled[1].revents != 0 { return .woken }
      if polled[0].revents != 0 { return .ready }
      if timeout == 0 { return .timedOut }
    }
  }
}
