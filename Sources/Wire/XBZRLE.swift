// XBZRLE.swift: the delta encoding of pages: unchanged runs and runs of new bytes, alternating.

/// QEMU's delta encoding of a page against an earlier content of the same page.
///
/// `zrun nzrun zrun nzrun …`: a zrun is the length of an unchanged run; an nzrun is a length and
/// as many new bytes. Lengths are ULEB128 of at most two bytes.
public enum XBZRLE {
  /// Applies `delta` to `page`, which holds the content that the delta was made against.
  ///
  /// An empty delta changes nothing. `page` is left partly changed when an error is thrown.
  /// - Throws: `WireError` of kind `malformedPage`, with offsets counted within the delta.
  public static func decode(
    _ delta: RawSpan, onto page: inout MutableRawSpan
  ) throws(WireError) {
    var input = 0
    var output = 0
    while input < delta.byteCount {
      guard delta.byteCount - input >= 2 else {
        throw malformed(at: input, "an unchanged run and a changed run after it", "one byte")
      }
      let unchanged = try length(delta, &input)
      if unchanged == 0 && output != 0 {
        throw malformed(at: input, "an unchanged run of at least 1 byte", "an empty one")
      }
      output += unchanged
      let changed = try length(delta, &input)
      if changed == 0 {
        throw malformed(at: input, "a changed run of at least 1 byte", "an empty one")
      }
      guard output <= page.byteCount, changed <= page.byteCount - output else {
        throw malformed(
          at: input, "runs within the page of \(page.byteCount) bytes",
          "\(output + changed) bytes")
      }
      guard changed <= delta.byteCount - input else {
        throw malformed(
          at: input, "\(changed) new bytes", "\(delta.byteCount - input) bytes to the end")
      }
      page.copy(delta.extracting(input..<input + changed), at: output)
      input += changed
      output += changed
    }
  }

  /// The delta that turns `old` into `new`, pages of one size, or `nil` where it would take more
  /// than a page: such a page is sent plain.
  ///
  /// Equal pages give an empty delta, which is not sent.
  public static func encode(old: RawSpan, new: RawSpan) -> [UInt8]? {
    precondition(old.byteCount == new.byteCount, "a delta is between pages of one size")
    let size = new.byteCount
    var result: [UInt8] = []
    var position = 0
    while position < size {
      if result.count + 2 > size { return nil }
      let unchangedStart = position
      position = firstDifference(old, new, from: position)
      if position == size { break }
      guard append(length: position - unchangedStart, to: &result) else { return nil }
      if result.count + 2 > size { return nil }
      let changedStart = position
      while position < size, old.byte(at: position) != new.byte(at: position) { position += 1 }
      guard append(length: position - changedStart, to: &result) else { return nil }
      if result.count + (position - changedStart) > size { return nil }
      result.append(span: new.extracting(changedStart..<position))
    }
    return result
  }

  /// The first byte from `start` on that differs, or the page's end.
  private static func firstDifference(
    _ old: RawSpan, _ new: RawSpan, from start: Int
  ) -> Int {
    let size = new.byteCount
    var position = start
    while position + 8 <= size,
      old.bigEndian(at: position, as: UInt64.self) == new.bigEndian(at: position, as: UInt64.self)
    {
      position += 8
    }
    while position < size, old.byte(at: position) == new.byte(at: position) { position += 1 }
    return position
  }

  /// The longest run that two bytes of ULEB128 can name.
  private static let longestRun = 0x3fff

  private static func length(_ delta: RawSpan, _ input: inout Int) throws(WireError) -> Int {
    guard input < delta.byteCount else {
      throw malformed(at: input, "the length of a run", "the end")
    }
    let low = delta.byte(at: input)
    input += 1
    if low & 0x80 == 0 { return Int(low) }
    guard input < delta.byteCount else {
      throw malformed(at: input, "the second byte of a run's length", "the end")
    }
    let high = delta.byte(at: input)
    input += 1
    guard high & 0x80 == 0 else {
      throw malformed(at: input - 2, "a run's length of at most two bytes", "a longer one")
    }
    return Int(low & 0x7f) | Int(high) << 7
  }

  /// Appends a run's length, and says whether it has a form on the wire.
  private static func append(length: Int, to result: inout [UInt8]) -> Bool {
    guard length <= longestRun else { return false }
    if length < 0x80 {
      result.append(UInt8(length))
    } else {
      result.append(UInt8(length & 0x7f) | 0x80)
      result.append(UInt8(length >> 7))
    }
    return true
  }

  private static func malformed(at offset: Int, _ expected: String, _ found: String) -> WireError {
    WireError(
      .malformedPage, at: UInt64(offset), reading: "a delta-encoded page", expected: expected,
      found: found)
  }
}
