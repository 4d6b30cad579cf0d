// Error numbers in words, and how this module repeats interrupted calls.

import Glibc

/// The kernel's answers, for people.
enum SystemErrors {
  /// The kernel's words for an error number.
  static func text(of code: Int32) -> String {
    // SAFETY: strerror answers a terminated string, which is copied at once.
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
  }

  /// What a person can do about it, as a sentence with a leading blank; empty where unknown.
  static func advice(for code: Int32) -> String {
    switch code {
    case ENOENT: " Check the path."
    case EACCES, EPERM: " Run as the user who owns it, or change its permissions."
    case EADDRINUSE: " Choose another path, or end what uses this one."
    case ENOSPC, EDQUOT: " Free some space and try again."
    case EBUSY: " Something else uses it: end that, or choose another one."
    default: ""
    }
  }

  /// Makes a call until no signal interrupts it; its result, or its error number negated.
  @inline(__always)
  static func repeating(_ call: () -> Int) -> Int {
    while true {
      let result = call()
      if result >= 0 { return result }
      let code = errno
      if code != EINTR { return -Int(code) }
    }
  }
}
