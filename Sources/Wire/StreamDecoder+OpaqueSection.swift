// StreamDecoder+OpaqueSection.swift: sections in parts whose layout this module does not know.

/// The payload of a part, collected until its footer and the beginning of another element show
/// that it is over.
struct OpaquePayload: Sendable {
  var bytes: [UInt8] = []
  /// Everything before this was searched and is no end.
  private var scanned = 0

  /// Makes an empty payload.
  init() {}

  /// Appends bytes.
  ///
  /// Gives the payload's size once its end is known.
  mutating func append(
    _ span: RawSpan, id: UInt32, isOpen: (UInt32) -> Bool
  ) -> Int? {
    bytes.append(span: span)
    var place = scanned
    let end: Int? = bytes.withSpan { all in
      while let next = all.firstOffset(of: ElementType.footer.rawValue, from: place) {
        guard let isEnd = Self.endsPayload(all, next, id, isOpen) else {
          place = next
          return nil
        }
        if isEnd { return next }
        place = next + 1
      }
      place = all.byteCount
      return nil
    }
    scanned = place
    return end
  }

  /// Whether the footer of section `id` and another element stand at `place`; `nil` if the bytes
  /// do not suffice to tell.
  private static func endsPayload(
    _ all: RawSpan, _ place: Int, _ id: UInt32, _ isOpen: (UInt32) -> Bool
  ) -> Bool? {
    guard place + 6 <= all.byteCount else { return nil }
    guard all.bigEndian(at: place + 1, as: UInt32.self) == id else { return false }
    let next = place + 5
    switch ElementType(rawValue: all.byte(at: next)) {
    case .sectionStart, .sectionFull: return SectionHeader.isPlausible(all, next)
    case .sectionPart, .sectionEnd:
      guard next + 5 <= all.byteCount else { return nil }
      return isOpen(all.bigEndian(at: next + 1, as: UInt32.self))
    case .command:
      guard next + 3 <= all.byteCount else { return nil }
      return VMCommand.Code(rawValue: all.bigEndian(at: next + 1, as: UInt16.self)) != nil
    case .endOfStream:
      guard next + 2 <= all.byteCount else { return nil }
      return all.byte(at: next + 1) == ElementType.description.rawValue
    case .subsection, .description, .configuration, .footer, nil: return false
    }
  }
}

extension SectionHeader {
  /// Whether the header of a START or FULL section may stand at `place`: its name is printable
  /// ASCII.
  ///
  /// `nil` if the bytes do not suffice to tell.
  static func isPlausible(_ all: RawSpan, _ place: Int) -> Bool? {
    guard place + 6 <= all.byteCount else { return nil }
    let length = Int(all.byte(at: place + 5))
    guard length > 0 else { return false }
    for offset in place + 6..<place + 6 + length {
      guard offset < all.byteCount else { return nil }
      guard (0x20...0x7e).contains(all.byte(at: offset)) else { return false }
    }
    return place + 6 + length + 8 <= all.byteCount ? true : nil
  }
}

extension StreamDecoder {
  mutating func opaqueSection<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    guard usesFooters != false else {
      throw invalid(
        .unsupported, expected: "a section whose layout is known, as it has no footer",
        found: "another")
    }
    let limit = options.limits.deviceStateSize
    let count = min(bytes.byteCount, WireSize.searchStep, limit - opaquePayload.bytes.count)
    guard count > 0 else {
      throw invalid(.limitExceeded, expected: "at most \(limit) bytes", found: "more")
    }
    let open = sections
    let end = opaquePayload.append(bytes.extracting(0..<count), id: currentID) {
      open[$0]?.hasEnded == false
    }
    guard let end else { return count }
    let payload = Array(opaquePayload.bytes[..<end])
    pushback = Array(opaquePayload.bytes[end...])
    opaquePayload = OpaquePayload()
    state = .footer
    try tell(.opaqueSection(id: currentID, payload: payload), &visitor)
    return count
  }
}
