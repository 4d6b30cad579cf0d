// A position in a JSON text. The one file of this module that reads memory by address: spans cost
// a generic call a byte in debug builds, and a description of a machine has a million of them.

/// A position in a text, valid only inside the closure that lends the text's memory.
@safe struct JSONCursor {
  private let base: UnsafePointer<UInt8>
  /// Length of the text in bytes.
  let count: Int
  /// The byte that is read next, from 0 to `count`.
  private(set) var offset = 0

  /// A cursor at the start of `memory`, or nil where that is empty.
  init?(_ memory: UnsafeBufferPointer<UInt8>) {
    guard let base = memory.baseAddress, !memory.isEmpty else { return nil }
    unsafe self.base = base
    count = memory.count
  }

  /// The byte at the cursor, or nil at the end.
  var current: UInt8? {
    // SAFETY: offset < count, and the memory holds count bytes.
    offset < count ? unsafe base[offset] : nil
  }

  /// Moves past the current byte, which must exist.
  mutating func advance() {
    precondition(offset < count, "a cursor moves only over bytes that exist")
    offset += 1
  }

  /// Moves past the current byte if it is `byte`.
  mutating func take(_ byte: UInt8) -> Bool {
    // SAFETY: offset < count is checked first, and the memory holds count bytes.
    guard offset < count, unsafe base[offset] == byte else { return false }
    offset += 1
    return true
  }

  /// Moves past the four characters that JSON calls white space.
  mutating func skipSpace() {
    while offset < count {
      // SAFETY: offset < count, and the memory holds count bytes.
      let byte = unsafe base[offset]
      guard byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 else { return }
      offset += 1
    }
  }

  /// Moves past decimal digits.
  mutating func skipDigits() {
    while offset < count {
      // SAFETY: offset < count, and the memory holds count bytes.
      let byte = unsafe base[offset]
      guard byte >= 0x30 && byte <= 0x39 else { return }
      offset += 1
    }
  }

  /// Moves to the next quote, backslash or control character, or to the end.
  mutating func skipPlainText() {
    while offset < count {
      // SAFETY: offset < count, and the memory holds count bytes.
      let byte = unsafe base[offset]
      if byte == 0x22 || byte == 0x5C || byte < 0x20 { return }
      offset += 1
    }
  }

  /// The text from `start` to the cursor, or nil where it is not UTF-8.
  func text(from start: Int) -> String? {
    precondition(start >= 0 && start <= offset, "a text lies behind the cursor")
    // SAFETY: start...offset lies inside the memory, which the caller's closure keeps alive.
    let bytes = unsafe UnsafeBufferPointer(start: base + start, count: offset - start)
    return unsafe String(validating: bytes, as: UTF8.self)
  }

  /// The value of the digits from `start` to the cursor, or nil where it needs more than 64 bits.
  func magnitude(from start: Int) -> UInt64? {
    var value: UInt64 = 0
    for index in start..<offset {
      // SAFETY: index < offset <= count.
      let digit = unsafe UInt64(base[index] &- 0x30)
      let (product, overflow) = value.multipliedReportingOverflow(by: 10)
      let (sum, carry) = product.addingReportingOverflow(digit)
      if overflow || carry { return nil }
      value = sum
    }
    return value
  }

  /// Offset of the first byte from `start` to the cursor that belongs to no UTF-8 sequence.
  func firstInvalidByte(from start: Int) -> Int {
    // A sequence has at most four bytes, so each prefix's validity is found a character at a time.
    var index = start
    while index < offset {
      var length = 1
      while length <= 4, index + length <= offset {
        // SAFETY: index + length <= offset <= count.
        let bytes = unsafe UnsafeBufferPointer(start: base + index, count: length)
        if unsafe String(validating: bytes, as: UTF8.self) != nil { break }
        length += 1
      }
      if length > 4 || index + length > offset { return index }
      index += length
    }
    return offset
  }
}
