// From value to text: compact for a wire or a log line, pretty for a person.

extension JSONValue: CustomStringConvertible {
  /// The shortest text of this value, on one line.
  public var description: String { text() }

  /// The value as JSON text.
  ///
  /// A `number` that is infinite or not a number, which JSON cannot say, is written as `null`.
  /// - Parameter pretty: one member or element a line, indented by two spaces.
  public func text(pretty: Bool = false) -> String {
    String(decoding: bytes(pretty: pretty), as: UTF8.self)
  }

  /// The value as UTF-8 JSON text, without a line end.
  /// - Parameter pretty: one member or element a line, indented by two spaces.
  public func bytes(pretty: Bool = false) -> [UInt8] {
    var output = JSONOutput(isPretty: pretty)
    output.write(self)
    return output.bytes
  }
}

/// The text written so far.
private struct JSONOutput {
  private(set) var bytes: [UInt8] = []
  private let isPretty: Bool
  private var depth = 0

  init(isPretty: Bool) { self.isPretty = isPretty }

  mutating func write(_ value: JSONValue) {
    switch value {
    case .null: write(word: "null")
    case .bool(let value): write(word: value ? "true" : "false")
    case .integer(let value): write(word: String(value))
    case .unsigned(let value): write(word: String(value))
    case .number(let value): write(word: value.isFinite ? "\(value)" : "null")
    case .string(let text): write(quoted: text)
    case .array(let elements): write(elements)
    case .object(let members): write(members)
    }
  }

  private mutating func write(_ elements: [JSONValue]) {
    write(byte: UInt8(ascii: "["))
    depth += 1
    for index in elements.indices {
      separate(isFirst: index == elements.startIndex)
      write(elements[index])
    }
    end(with: UInt8(ascii: "]"), isEmpty: elements.isEmpty)
  }

  private mutating func write(_ members: [JSONMember]) {
    write(byte: UInt8(ascii: "{"))
    depth += 1
    for index in members.indices {
      separate(isFirst: index == members.startIndex)
      write(quoted: members[index].name)
      write(word: isPretty ? ": " : ":")
      write(members[index].value)
    }
    end(with: UInt8(ascii: "}"), isEmpty: members.isEmpty)
  }

  private mutating func separate(isFirst: Bool) {
    if !isFirst { write(byte: UInt8(ascii: ",")) }
    if isPretty { breakLine() }
  }

  private mutating func end(with byte: UInt8, isEmpty: Bool) {
    depth -= 1
    if isPretty && !isEmpty { breakLine() }
    write(byte: byte)
  }

  private mutating func breakLine() {
    write(byte: UInt8(ascii: "\n"))
    for _ in 0..<depth { write(word: "  ") }
  }

  private mutating func write(byte: UInt8) { bytes.append(byte) }

  private mutating func write(word: String) { bytes.append(contentsOf: word.utf8) }

  private mutating func write(quoted text: String) {
    write(byte: UInt8(ascii: "\""))
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"):
        write(byte: UInt8(ascii: "\\"))
        write(byte: byte)
      case 0x0A: write(word: "\\n")
      case 0x0D: write(word: "\\r")
      case 0x09: write(word: "\\t")
      case 0x00..<0x20:
        write(word: byte < 0x10 ? "\\u000" : "\\u00")
        write(word: String(byte, radix: 16))
      default: write(byte: byte)
      }
    }
    write(byte: UInt8(ascii: "\""))
  }
}
