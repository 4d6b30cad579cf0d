// How a command ended.

/// How a command ended.
public enum CommandExit: Equatable, Sendable, CustomStringConvertible {
  /// It returned this status; 0 is success.
  case status(Int32)
  /// This signal ended it.
  case signal(Int32)

  /// Decodes what waitpid(2) reports.
  init(waitStatus: Int32) {
    let signal = waitStatus & 0x7F
    self = signal == 0 ? .status((waitStatus >> 8) & 0xFF) : .signal(signal)
  }

  /// A clause such as "ended with status 3".
  public var description: String {
    switch self {
    case .status(let status): "ended with status \(status)"
    case .signal(let signal): "was ended by signal \(signal)"
    }
  }
}
