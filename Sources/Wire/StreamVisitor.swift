// StreamVisitor.swift: what takes the events and the pages of a stream.

/// What a decoder tells its findings to.
///
/// The decoder calls one method at a time, in stream order, on the thread that feeds it. An error
/// thrown by a visitor leaves `feed` as it is, and the decoder refuses further input.
public protocol StreamVisitor {
  /// Takes everything but pages.
  mutating func visit(_ event: StreamEvent) throws

  /// Takes the content of one whole target page.
  ///
  /// The span is valid during the call only. It lies in the bytes that were fed where the page
  /// lies whole in them.
  mutating func visitPage(_ page: RAMPageAddress, content: RawSpan) throws

  /// Takes a page all of whose bytes are `fill`; QEMU never sends another fill than 0.
  mutating func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) throws

  /// Takes a page as a delta against what the receiver holds at that address.
  ///
  /// `xbzrle` is to be applied by `XBZRLE.decode`; an empty one means no change.
  mutating func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) throws

  /// Takes a page that the receiver said it holds: the SHA-256 of its content, 32 bytes.
  ///
  /// Called only where `StreamDecoder.Options.takesKnownPages` is set.
  mutating func visitPageHash(_ page: RAMPageAddress, digest: RawSpan) throws
}

extension StreamVisitor {
  /// Refuses: a visitor that holds no pages has nothing to put in this one's place.
  public mutating func visitPageHash(_ page: RAMPageAddress, digest: RawSpan) throws {
    throw WireError(
      .unsupported, at: 0, reading: "a page that travels by its hash",
      expected: "pages with their content", found: "the hash of the one at \(page.offset)",
      remedy: KnownPagesText.remedy)
  }
}

/// What a person is told where one end alone sends or takes pages by their hashes.
enum KnownPagesText {
  static let remedy = "Turn the capability x-known-pages on at both ends, or off at both."
}
