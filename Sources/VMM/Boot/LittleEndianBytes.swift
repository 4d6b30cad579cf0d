// Bytes put together in the order in which a PC stores numbers.

/// A block of bytes with numbers in little-endian order.
struct LittleEndianBytes: Sendable, Equatable {
  private(set) var bytes: [UInt8]

  /// That many zeroes, to be filled in place or appended to.
  init(zeroes count: Int = 0) {
    bytes = [UInt8](repeating: 0, count: count)
  }

  init(_ bytes: some Sequence<UInt8>) {
    self.bytes = [UInt8](bytes)
  }

  var count: Int { bytes.count }

  /// Puts a number at an offset inside the block.
  mutating func put(_ value: some FixedWidthInteger, at offset: Int) {
    for index in 0..<(value.bitWidth / 8) {
      bytes[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index))
    }
  }

  /// Puts bytes at an offset inside the block.
  mutating func put(_ other: some Collection<UInt8>, at offset: Int) {
    bytes.replaceSubrange(offset..<offset + other.count, with: other)
  }

  mutating func append(_ value: some FixedWidthInteger) {
    for index in 0..<(value.bitWidth / 8) {
      bytes.append(UInt8(truncatingIfNeeded: value >> (8 * index)))
    }
  }

  mutating func append(_ other: some Sequence<UInt8>) {
    bytes.append(contentsOf: other)
  }
}

extension Collection<UInt8> where Index == Int {
  /// The little-endian number at an offset from the start; nil where the bytes end before it.
  func littleEndian<Number: FixedWidthInteger & UnsignedInteger>(
    at offset: Int, as _: Number.Type = Number.self
  ) -> Number? {
    let size = Number.bitWidth / 8
    guard offset >= 0, offset <= count - size else { return nil }
    var value: Number = 0
    for position in 0..<size {
      value |= Number(truncatingIfNeeded: self[startIndex + offset + position]) << (8 * position)
    }
    return value
  }
}
