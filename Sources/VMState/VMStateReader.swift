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
  ///
  /// The format marks a subsection by its content alone: one byte, and a name. If the section ends
  /// within what can be nothing but the header of one of `names`, that is an error.
  func peekSubsection(
    _ names: some Sequence<String>
  ) throws(VMStateError) -> (name: String, version: Int, size: Int)? {
    let rest = bytes.dropFirst(offset)
    guard rest.first == VMStateFormat.subsection else { return nil }
    let length = rest.dropFirst().first.map { Int($0) } ?? 0
    let size = 6 + length
    guard rest.count >= size else {
      for name in names where name.utf8.count == length || rest.count == 1 {
        let header = [VMStateFormat.subsection, UInt8(name.utf8.count)] + Array(name.utf8)
        guard rest.starts(with: header) || header.starts(with: rest) else { continue }
        throw error(
          .truncated, field: name, expected: "the \(header.count + 4) bytes of its header",
          found: "\(rest.count) before the end of the section")
      }
      return nil
    }
    let text = rest.dropFirst(2).prefix(length)
    guard let name = String(validating: text, as: UTF8.self) else { return nil }
    let version = rest.dropFirst(2 + length).prefix(4).reduce(0) { $0 << 8 | Int($1) }
    return (name, version, size)
  }

  /// Goes past bytes that `peekSubsection` has seen.
  mutating func skip(_ count: Int) { offset += min(count, remaining) }
}
