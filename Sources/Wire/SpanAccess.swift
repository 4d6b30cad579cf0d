// SpanAccess.swift: the one file that loads integers from spans and copies spans into arrays.

extension RawSpan {
  /// The big-endian integer at `offset`, which must lie wholly inside the span.
  @inline(__always)
  func bigEndian<T: FixedWidthInteger & BitwiseCopyable>(at offset: Int, as _: T.Type) -> T {
    // SAFETY: the load is bounds-checked by the standard library, and every bit pattern of a
    // fixed-width integer is a valid value.
    let value = unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: T.self)
    return T(bigEndian: value)
  }

  /// The byte at `offset`, which must lie inside the span.
  @inline(__always)
  func byte(at offset: Int) -> UInt8 {
    // SAFETY: as above.
    unsafe unsafeLoadUnaligned(fromByteOffset: offset, as: UInt8.self)
  }

  /// A copy of the bytes in `range`, which must lie inside the span.
  func array(in range: Range<Int>) -> [UInt8] {
    var copy: [UInt8] = []
    copy.append(span: extracting(range))
    return copy
  }

  /// A copy of all bytes.
  func array() -> [UInt8] { array(in: 0..<byteCount) }

  /// The text in `range`, or `nil` if it is not UTF-8.
  func text(in range: Range<Int>) -> String? {
    let part = extracting(range)
    // SAFETY: the pointer is used during the call only.
    return unsafe part.withUnsafeBytes { bytes in
      unsafe String(validating: bytes, as: UTF8.self)
    }
  }

  /// The first place at or after `start` where `value` stands, or `nil`.
  func firstOffset(of value: UInt8, from start: Int) -> Int? {
    var offset = start
    let pattern = UInt64(value) &* 0x0101_0101_0101_0101
    while byteCount - offset >= 8 {
      // A byte of `difference` is zero where the value stands; the classic test finds one.
      let difference = bigEndian(at: offset, as: UInt64.self) ^ pattern
      let zeroes =
        (difference &- 0x0101_0101_0101_0101) & ~difference & 0x8080_8080_8080_8080
      if zeroes != 0 { break }
      offset += 8
    }
    while offset < byteCount {
      if byte(at: offset) == value { return offset }
      offset += 1
    }
    return nil
  }
}

extension [UInt8] {
  /// Appends the bytes of a span.
  @inline(__always)
  mutating func append(span: RawSpan) {
    // SAFETY: the pointer is used during the call only, and the span outlives it.
    unsafe span.withUnsafeBytes { bytes in unsafe append(contentsOf: bytes) }
  }

  /// Appends an integer, most significant byte first.
  @inline(__always)
  mutating func append<T: FixedWidthInteger & BitwiseCopyable>(bigEndian value: T) {
    var stored = value.bigEndian
    // SAFETY: the bytes of a local integer, read during the call only.
    unsafe Swift.withUnsafeBytes(of: &stored) { bytes in unsafe append(contentsOf: bytes) }
  }

  /// Lends all bytes as a span to `body`.
  @inline(__always)
  func withSpan<R, E: Error>(_ body: (RawSpan) throws(E) -> R) throws(E) -> R {
    // SAFETY: the span ends with the call, and the array is not changed during it.
    try body(unsafe span.bytes)
  }
}

extension MutableRawSpan {
  /// Overwrites the bytes from `offset` with `source`, all of which must lie inside the span.
  mutating func copy(_ source: RawSpan, at offset: Int) {
    precondition(
      offset >= 0 && source.byteCount <= byteCount - offset, "a copy within the span")
    // SAFETY: the precondition keeps the copy inside both; a mutable span has no alias.
    unsafe withUnsafeMutableBytes { target in
      unsafe source.withUnsafeBytes { bytes in
        guard let start = bytes.baseAddress, let base = target.baseAddress else { return }
        unsafe base.advanced(by: offset).copyMemory(from: start, byteCount: bytes.count)
      }
    }
  }
}
