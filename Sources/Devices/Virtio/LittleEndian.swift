// Numbers in virtio's byte order, little-endian, in arrays of bytes.

extension [UInt8] {
  /// The number at an offset; bytes beyond the array's end count as zero.
  func littleEndian<T: FixedWidthInteger>(_: T.Type, at offset: Int) -> T {
    var value: T = 0
    for index in 0..<T.bitWidth / 8 where offset + index < count {
      value |= T(self[offset + index]) << T(8 * index)
    }
    return value
  }

  /// Appends a number.
  mutating func appendLittleEndian<T: FixedWidthInteger>(_ value: T) {
    for index in 0..<T.bitWidth / 8 {
      append(UInt8(truncatingIfNeeded: value >> T(8 * index)))
    }
  }
}
