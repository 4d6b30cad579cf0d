// Little-endian fields in byte arrays: everything the store's own files are made of.

import PageHash

extension [UInt8] {
  /// Appends an integer, low byte first.
  mutating func appendLittleEndian<T: FixedWidthInteger & UnsignedInteger>(_ value: T) {
    var rest = value
    for _ in 0..<(T.bitWidth / 8) {
      append(UInt8(truncatingIfNeeded: rest))
      rest >>= 8
    }
  }

  /// Appends a length (8 bytes) and the bytes.
  mutating func appendCounted(_ bytes: [UInt8]) {
    appendLittleEndian(UInt64(bytes.count))
    append(contentsOf: bytes)
  }

  /// Appends a string's UTF-8 with its length.
  mutating func appendCounted(_ text: String) { appendCounted(Array(text.utf8)) }
}

/// Reads fields in order; running out of bytes is a nil, never a trap.
struct FieldReader {
  let bytes: [UInt8]
  private(set) var offset: Int

  init(_ bytes: [UInt8], from offset: Int = 0) {
    self.bytes = bytes
    self.offset = offset
  }

  /// The next integer, low byte first.
  mutating func next<T: FixedWidthInteger & UnsignedInteger>(_: T.Type) -> T? {
    let size = T.bitWidth / 8
    guard bytes.count - offset >= size else { return nil }
    var value: T = 0
    for index in (0..<size).reversed() { value = value << 8 | T(bytes[offset + index]) }
    offset += size
    return value
  }

  /// The next `count` bytes.
  mutating func next(count: Int) -> [UInt8]? {
    guard count >= 0, bytes.count - offset >= count else { return nil }
    defer { offset += count }
    return Array(bytes[offset..<offset + count])
  }

  /// The next bytes with their length before them.
  mutating func nextCounted() -> [UInt8]? {
    guard let count = next(UInt64.self), let count = Int(exactly: count) else { return nil }
    return next(count: count)
  }

  /// The next string.
  mutating func nextText() -> String? {
    nextCounted().map { String(decoding: $0, as: UTF8.self) }
  }

  /// The next hash.
  mutating func nextHash() -> ContentHash? {
    guard let word0 = next(UInt64.self), let word1 = next(UInt64.self),
      let word2 = next(UInt64.self), let word3 = next(UInt64.self)
    else { return nil }
    return ContentHash(word0, word1, word2, word3)
  }
}
