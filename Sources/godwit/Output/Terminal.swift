// What the standard streams are connected to, and writing to them. The command's only unsafe file.

import Glibc

/// The process's standard streams.
enum StandardStream: Int32 {
  case output = 1
  case error = 2

  /// Whether a person watches it on a terminal that can move its cursor.
  var isTerminal: Bool {
    isatty(rawValue) == 1 && Environment.value(of: "TERM").map { $0 != "dumb" } == true
  }

  /// The terminal's width in columns, or 80 where it does not say.
  var columnCount: Int {
    var size = winsize()
    // SAFETY: TIOCGWINSZ fills the one structure it is given, which lives in this frame.
    let result = unsafe ioctl(rawValue, UInt(TIOCGWINSZ), &size)
    return result == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
  }

  /// Writes all bytes; false where nobody reads the stream any more.
  func write(_ bytes: [UInt8]) -> Bool {
    var offset = 0
    while offset < bytes.count {
      let written = unsafe bytes.withUnsafeBytes { memory in
        // SAFETY: the slice lies inside `memory`, which outlives the call.
        let rest = unsafe UnsafeRawBufferPointer(rebasing: memory[offset...])
        return unsafe Glibc.write(rawValue, rest.baseAddress, rest.count)
      }
      if written > 0 {
        offset += written
      } else if written < 0, errno == EAGAIN {
        waitUntilWritable()
      } else if written == 0 || errno != EINTR {
        return false
      }
    }
    return true
  }

  private func waitUntilWritable() {
    var wait = pollfd(fd: rawValue, events: Int16(POLLOUT), revents: 0)
    // SAFETY: one structure of this frame, as the count says.
    _ = unsafe poll(&wait, 1, -1)
  }
}

/// The process's environment.
enum Environment {
  /// A variable's value; nil where it is not set or empty.
  static func value(of name: String) -> String? {
    // SAFETY: the text is copied at once, and nothing in this process changes the environment.
    guard let text = unsafe getenv(name) else { return nil }
    let value = unsafe String(cString: text)
    return value.isEmpty ? nil : value
  }
}
