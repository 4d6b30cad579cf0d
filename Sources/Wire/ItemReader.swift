// ItemReader.swift: a cursor over the bytes of one item that may not have arrived whole.

/// Why an item could not be read to its end.
enum Interruption: Error {
  /// The item's first `total` bytes are needed before it can be read further.
  case needs(total: Int)
  /// The bytes are wrong.
  case invalid(WireError)
  /// A visitor refused what it was told.
  case visitor(any Error)
}

/// Reads the fields of one item in order, and says how many bytes it lacks.
///
/// A reader never looks past what it was asked for: that is what makes the result of decoding
/// independent of where the input was split.
struct ItemReader: ~Escapable {
  let bytes: RawSpan
  /// The offset in the stream of the item's first byte.
  let base: UInt64
  private(set) var offset = 0

  @_lifetime(copy bytes)
  init(_ bytes: RawSpan, base: UInt64) {
    self.bytes = bytes
    self.base = base
  }

  /// Makes sure that `count` more bytes have arrived.
  @inline(__always)
  func require(_ count: Int) throws(Interruption) {
    if bytes.byteCount - offset < count { throw .needs(total: offset + count) }
  }

  /// The next integer, most significant byte first.
  @inline(__always)
  @_lifetime(self: copy self)
  mutating func next<T: FixedWidthInteger & BitwiseCopyable>(
    _: T.Type
  ) throws(Interruption) -> T {
    try require(MemoryLayout<T>.size)
    let value = bytes.bigEndian(at: offset, as: T.self)
    offset += MemoryLayout<T>.size
    return value
  }

  /// The next integer, without passing it.
  @inline(__always)
  func peek<T: FixedWidthInteger & BitwiseCopyable>(_: T.Type) throws(Interruption) -> T {
    try require(MemoryLayout<T>.size)
    return bytes.bigEndian(at: offset, as: T.self)
  }

  /// The range that the next `count` bytes take.
  @inline(__always)
  @_lifetime(self: copy self)
  mutating func nextRange(_ count: Int) throws(Interruption) -> Range<Int> {
    try require(count)
    let range = offset..<offset + count
    offset += count
    return range
  }

  /// A copy of the next `count` bytes.
  @_lifetime(self: copy self)
  mutating func nextBytes(_ count: Int) throws(Interruption) -> [UInt8] {
    bytes.array(in: try nextRange(count))
  }

  /// Text of `count` bytes; `what` names it in an error.
  @_lifetime(self: copy self)
  mutating func nextText(_ count: Int, _ what: String) throws(Interruption) -> String {
    let range = try nextRange(count)
    guard let text = bytes.text(in: range) else {
      throw .invalid(
        WireError(
          .unexpectedElement, at: base, reading: what, expected: "UTF-8 text",
          found: "\(count) bytes that are not"))
    }
    return text
  }

  /// Text with a length byte before it; `what` names it in an error.
  @_lifetime(self: copy self)
  mutating func nextCountedText(_ what: String) throws(Interruption) -> String {
    let count = Int(try next(UInt8.self))
    return try nextText(count, what)
  }
}
