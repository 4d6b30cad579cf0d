// Reading one message of a client, and saying in QEMU's words why it is no JSON.

import JSON

/// The text of one message.
enum QMPCommandText {
  /// Bytes of what a client sent that an error repeats at most.
  private static let quotedByteLimit = 64

  /// Reads a text whose brackets balance, or a single word or string.
  static func read(_ text: [UInt8], _ limits: QMPServerLimits) -> QMPCommandFramer.Item {
    let value: JSONValue
    do throws(JSONError) {
      value = try JSONValue(
        parsing: text,
        // What the framer adds to single-quoted texts does not count against the sender.
        limits: JSONLimits(
          byteCount: 2 * limits.messageByteCount, depth: limits.depth,
          valueCount: limits.valueCount))
    } catch {
      return .rubbish(refusal(for: error, in: text))
    }
    guard !hasRepetition(value) else {
      return .rubbish(QMPRefusal("JSON parse error, duplicate key"))
    }
    return .value(value)
  }

  /// The answer to bytes that belong nowhere.
  static func stray(_ token: [UInt8]) -> QMPRefusal {
    QMPRefusal("JSON parse error, stray '\(quoted(token))'")
  }

  private static func refusal(for error: JSONError, in text: [UInt8]) -> QMPRefusal {
    let reason: String =
      switch error.problem {
      case .tooLarge: "token size"
      case .tooDeep: "nesting depth"
      case .tooManyValues: "token count"
      case .endOfText, .unexpectedByte, .controlCharacter, .unknownEscape, .unpairedSurrogate,
        .invalidUTF8, .numberOutOfRange, .trailingText:
        ""
      }
    guard reason.isEmpty else { return QMPRefusal("JSON \(reason) limit exceeded") }
    return QMPRefusal("JSON parse error, \(explanation(of: error, in: text))")
  }

  private static func explanation(of error: JSONError, in text: [UInt8]) -> String {
    switch error.problem {
    case .unexpectedByte(let byte, let expected):
      explanation(ofUnexpected: byte, expected, error.offset, text)
    case .unknownEscape: "invalid escape sequence in string"
    case .unpairedSurrogate:
      "\(quoted(Array(text[error.offset...].prefix(6)))) is not a valid Unicode character"
    case .invalidUTF8, .controlCharacter: "invalid UTF-8 sequence in string"
    case .numberOutOfRange: "number out of range"
    case .trailingText: "stray '\(quoted(word(around: error.offset, in: text)))'"
    case .endOfText, .tooLarge, .tooDeep, .tooManyValues: "expecting value"
    }
  }

  private static func explanation(
    ofUnexpected byte: UInt8, _ expected: String, _ offset: Int, _ text: [UInt8]
  ) -> String {
    if expected.hasPrefix("four hexadecimal") { return "invalid escape sequence in string" }
    if expected.hasPrefix("':'") { return "missing : in object pair" }
    let word = word(around: offset, in: text)
    let isKeyword = word.first.map { $0 >= UInt8(ascii: "A") } ?? false
    let isValue = expected == "a value" || expected.hasPrefix("the word")
    if isValue && isKeyword { return "invalid keyword '\(quoted(word))'" }
    if expected == "a digit" { return "stray '\(quoted(word))'" }
    if isValue || byte == UInt8(ascii: "}") || byte == UInt8(ascii: "]") {
      return "expecting value"
    }
    if expected.hasPrefix("a member's name") { return "key is not a string in object" }
    return expected.hasSuffix("list") ? "expected separator in list" : "expected separator in dict"
  }

  /// The letters, digits and signs around a place.
  private static func word(around offset: Int, in text: [UInt8]) -> [UInt8] {
    func isWord(_ byte: UInt8) -> Bool {
      switch byte {
      case 0x00...0x20, UInt8(ascii: "{"), UInt8(ascii: "}"), UInt8(ascii: "["),
        UInt8(ascii: "]"), UInt8(ascii: ","), UInt8(ascii: ":"), UInt8(ascii: "\""):
        false
      default: true
      }
    }
    var start = min(offset, text.count)
    while start > 0, isWord(text[start - 1]) { start -= 1 }
    return Array(text[start...].prefix { isWord($0) })
  }

  private static func quoted(_ bytes: [UInt8]) -> String {
    String(decoding: bytes.prefix(quotedByteLimit), as: UTF8.self)
      + (bytes.count > quotedByteLimit ? "..." : "")
  }

  private static func hasRepetition(_ value: JSONValue) -> Bool {
    switch value {
    case .object(let members):
      Set(members.map(\.name)).count != members.count
        || members.contains { hasRepetition($0.value) }
    case .array(let elements): elements.contains { hasRepetition($0) }
    case .null, .bool, .integer, .unsigned, .number, .string: false
    }
  }
}
