// Why a text is not JSON, or more of it than was allowed, and at which byte.

/// The reason for which a text was refused as JSON.
public struct JSONError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What was wrong with the text.
  public enum Problem: Equatable, Sendable {
    /// The text is longer than `limit` bytes; nothing of it was read.
    case tooLarge(byteCount: Int, limit: Int)
    /// Lists and objects are nested deeper than `limit`.
    case tooDeep(limit: Int)
    /// The text holds more than `limit` values.
    case tooManyValues(limit: Int)
    /// The text ends where something else had to follow.
    case endOfText(expected: String)
    /// A byte stands where something else had to.
    case unexpectedByte(UInt8, expected: String)
    /// A control character stands unescaped in a string.
    case controlCharacter(UInt8)
    /// A backslash is followed by nothing that JSON knows.
    case unknownEscape
    /// Half of a surrogate pair stands alone.
    case unpairedSurrogate
    /// The bytes are not UTF-8.
    case invalidUTF8
    /// The number is beyond what a `Double` holds.
    case numberOutOfRange
    /// More text follows the value.
    case trailingText
  }

  /// Byte offset in the text at which the problem was seen.
  public let offset: Int
  /// What was wrong.
  public let problem: Problem

  /// An error with its place and reason.
  public init(offset: Int, problem: Problem) {
    self.offset = offset
    self.problem = problem
  }

  /// A sentence for a person.
  public var description: String {
    "Reading JSON failed at byte \(offset): \(explanation)."
  }

  private var explanation: String {
    switch problem {
    case .tooLarge(let byteCount, let limit):
      "the text has \(byteCount) bytes, and at most \(limit) are accepted here"
    case .tooDeep(let limit):
      "lists and objects are nested deeper than the \(limit) levels accepted here"
    case .tooManyValues(let limit):
      "the text holds more than the \(limit) values accepted here"
    case .endOfText(let expected):
      "expected \(expected), found the end of the text; it seems to be cut off"
    case .unexpectedByte(let byte, let expected):
      "expected \(expected), found \(Self.name(of: byte))"
    case .controlCharacter(let byte):
      "a string holds \(Self.name(of: byte)) unescaped, which JSON forbids"
    case .unknownEscape:
      "a backslash in a string is followed by no escape that JSON knows"
    case .unpairedSurrogate:
      "a \\u escape names half of a surrogate pair, and its other half is missing"
    case .invalidUTF8:
      "the bytes are not valid UTF-8"
    case .numberOutOfRange:
      "the number is too large to be represented"
    case .trailingText:
      "the value has ended, and more text follows it"
    }
  }

  private static func name(of byte: UInt8) -> String {
    if byte > 0x20 && byte < 0x7F { return "'\(Character(UnicodeScalar(byte)))'" }
    if byte == 0x20 { return "a space" }
    let digits = String(byte, radix: 16, uppercase: true)
    return "the byte 0x" + (digits.count == 1 ? "0" + digits : digits)
  }
}
