// VMStateReader.swift: a cursor over the bytes of one section.

/// Reads the fields of one section in order; every error says where it is.
struct VMStateReader: Sendable {
  private let bytes: ArraySlice<UInt8>
  /// How many bytes of the section are read.
  private(set) var offset = 0
  /// The version of the structure that is being read.
  var version: Int
  var place: VMStatePlace

  init(_ bytes: ArraySlice<UInt8>, version: Int, _ place: VMStatePlace) {
    self.bytes = bytes
    self.version = version
    self.place = place
  }

  /// How many bytes of the section are left.
  var remaining: Int { bytes.count - offset }

  /// An error in a field that begins at `start`, or here.
  func error(
    _ kind: VMStateError.Kind, field: String = "", at start: Int? = nil, expected: String,
    found: String
  ) -> VMStateError {
    place.error(
      kind, field: field, offset: start ?? offset, expected: expected, found: found)
  }

  /// The next `count` bytes, which belong to `field`.
  mutating func next(_ count: Int, _ field: String) throws(VMStateError) -> ArraySlice<UInt8> {
    guard count <= remaining else {
      throw error(
        .truncated, field: field, expected: "\(count) \(count == 1 ? "byte" : "bytes")",
        found: "\(remaining) before the end of the section")
    }
    let start = bytes.startIndex + offset
    offset += count
    return bytes[start..<start + count]
  }

  /// The next integer, which belongs to `field`.
  mutating func next<T: VMStateScalar>(
    _: T.Type, _ field: String
  ) throws(VMStateError) -> T {
    var value: T = 0
    for byte in try next(T.byteCount, field) {
      value = value << 8 | T(truncatingIfNeeded: byte)
    }
    return value
  }

  /// The name and version of the subsection that begins here, or `nil` if none does.
  func peekSubsection() -> (name: String, version: Int, size: Int)? {
    let start = bytes.startIndex + offset
    guard remaining >= 2, bytes[start] == VMStateFormat.subsection else { return nil }
    let length = Int(bytes[start + 1])
    guard remaining >= 6 + length else { return nil }
    let text = bytes[start + 2..<start + 2 + length]
    guard let name = String(validating: text, as: UTF8.self) else { return nil }
    let version = bytes[start + 2 + length..<start + 6 + length].reduce(0) { $0 << 8 | Int($1) }
    return (name, version, 6 + length)
  }

  /// Goes past bytes that `peekSubsection` has seen.
  mutating func skip(_ count: Int) { offset += min(count, remaining) }
}
