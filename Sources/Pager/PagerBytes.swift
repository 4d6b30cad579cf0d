// The values in a control message: big-endian numbers, and texts and bytes behind their length.

internal import Wire

/// Writes a message's values one after the other.
struct PagerWriter {
  private(set) var bytes: [UInt8] = []

  mutating func add<Number: FixedWidthInteger>(_ value: Number) {
    for shift in stride(from: Number.bitWidth - 8, through: 0, by: -8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> Number(shift)))
    }
  }

  mutating func add(_ value: Bool) { add(UInt8(value ? 1 : 0)) }

  mutating func add(_ value: [UInt8]) {
    add(UInt32(value.count))
    bytes += value
  }

  mutating func add(_ text: String) { add(Array(text.utf8)) }

  /// A value that may not be there.
  mutating func add<Value>(optional value: Value?, _ body: (inout PagerWriter, Value) -> Void) {
    add(value != nil)
    if let value { body(&self, value) }
  }

  /// A list behind its length.
  mutating func add<Value>(list: [Value], _ body: (inout PagerWriter, Value) -> Void) {
    add(UInt32(list.count))
    for value in list { body(&self, value) }
  }
}

/// Reads a message's values; never more than there are bytes for.
struct PagerReader {
  private let bytes: [UInt8]
  private var offset = 0

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
  }

  /// How many bytes are left.
  var remaining: Int { bytes.count - offset }

  mutating func number<Number: FixedWidthInteger>(
    _: Number.Type = Number.self
  ) throws(PagerError) -> Number {
    let size = Number.bitWidth / 8
    guard remaining >= size else { throw Self.short(offset) }
    var value: Number = 0
    for byte in bytes[offset..<offset + size] {
      value = (size == 1 ? 0 : value << 8) | Number(truncatingIfNeeded: byte)
    }
    offset += size
    return value
  }

  mutating func flag() throws(PagerError) -> Bool {
    let value: UInt8 = try number()
    guard value <= 1 else { throw .protocolViolation("a flag has the value \(value)") }
    return value == 1
  }

  mutating func data() throws(PagerError) -> [UInt8] {
    let count = Int(try number(UInt32.self))
    guard remaining >= count else { throw Self.short(offset) }
    defer { offset += count }
    return Array(bytes[offset..<offset + count])
  }

  mutating func text() throws(PagerError) -> String {
    let found = try data()
    guard let text = String(validating: found, as: UTF8.self) else {
      throw .protocolViolation("a text is not UTF-8")
    }
    return text
  }

  mutating func optional<Value>(
    _ body: (inout PagerReader) throws(PagerError) -> Value
  ) throws(PagerError) -> Value? {
    guard try flag() else { return nil }
    return try body(&self)
  }

  /// A list; nothing is reserved for what its length announces.
  mutating func list<Value>(
    _ body: (inout PagerReader) throws(PagerError) -> Value
  ) throws(PagerError) -> [Value] {
    let count = Int(try number(UInt32.self))
    guard count <= remaining else { throw Self.short(offset) }
    var values: [Value] = []
    for _ in 0..<count { values.append(try body(&self)) }
    return values
  }

  /// Nothing may follow what was read.
  func end() throws(PagerError) {
    guard remaining == 0 else {
      throw .protocolViolation("\(remaining) bytes are left over behind a message")
    }
  }

  private static func short(_ offset: Int) -> PagerError {
    .protocolViolation("a message ends early, \(offset) bytes after its beginning")
  }
}
