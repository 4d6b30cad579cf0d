// CountedText.swift: text of at most 255 bytes with its length before it.

/// A name as the format writes it: one byte of length, then UTF-8, no terminator.
struct CountedText {
  private let text: String

  /// Accepts `text` if its length fits a byte; `what` names it in the error.
  init(_ text: String, _ what: String) throws(WireError) {
    guard text.utf8.count <= 255 else {
      throw WireError(
        .notEncodable, at: 0, reading: what, expected: "at most 255 bytes of UTF-8",
        found: "\(text.utf8.count)")
    }
    self.text = text
  }

  /// The size on the wire in bytes.
  var size: Int { 1 + text.utf8.count }

  /// Appends the length and the text.
  func append(to buffer: inout [UInt8]) {
    buffer.append(UInt8(text.utf8.count))
    buffer.append(contentsOf: text.utf8)
  }
}
