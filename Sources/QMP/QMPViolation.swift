// What a peer can do that no peer may do.

public import JSON

/// How a peer broke the protocol.
public enum QMPViolation: Error, Equatable, Sendable {
  /// A byte stands between messages where only white space may.
  case strayByte(UInt8)
  /// A message is longer than `limit` bytes.
  case messageTooLong(limit: Int)
  /// A message is not JSON.
  case notJSON(JSONError)
  /// A message is an object that is neither greeting, answer, event nor command.
  case unknownMessage
  /// The first message is no greeting, or a later one is.
  case greetingOutOfPlace
  /// An answer to nothing that was asked.
  case unknownReply
  /// An error about the line as a whole, with the peer's text.
  case complaint(String)
}

extension QMPViolation: CustomStringConvertible {
  /// A clause for a person.
  public var description: String {
    switch self {
    case .strayByte(let byte): "the byte 0x\(String(byte, radix: 16)) stands between messages"
    case .messageTooLong(let limit): "a message is longer than \(limit) bytes"
    case .notJSON(let error): "a message is not JSON (\(error))"
    case .unknownMessage: "a message is neither greeting, answer, event nor command"
    case .greetingOutOfPlace: "the greeting must come first, and once"
    case .unknownReply: "an answer came to a command that was not sent"
    case .complaint(let text): "it did not understand what was sent (\(text))"
    }
  }
}
