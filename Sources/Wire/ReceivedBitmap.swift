// ReceivedBitmap.swift: which target pages of a block a postcopy destination holds.

/// One bit for each target page of a RAM block: set where the page was received.
///
/// On the wire: little-endian, bit i in byte i/8 at i%8, padded with zero bits to 64.
public struct ReceivedBitmap: Equatable, Sendable {
  /// How many pages the bitmap is about.
  public let pageCount: Int
  private var words: [UInt64]

  /// A bitmap of `pageCount` pages, none of them received.
  public init(pageCount: Int) {
    precondition(pageCount >= 0, "a count of pages")
    self.pageCount = pageCount
    words = [UInt64](repeating: 0, count: (pageCount + 63) / 64)
  }

  /// The bitmap as it stood on the wire; `nil` unless `bytes` has `byteCount(forPages:)` bytes.
  ///
  /// Bits beyond the last page are ignored.
  public init?(pageCount: Int, bytes: [UInt8]) {
    guard pageCount >= 0, bytes.count == Self.byteCount(forPages: pageCount) else { return nil }
    self.init(pageCount: pageCount)
    for (index, byte) in bytes.enumerated() {
      words[index / 8] |= UInt64(byte) << UInt64(index % 8 * 8)
    }
    if pageCount % 64 != 0, let last = words.indices.last {
      words[last] &= (1 << UInt64(pageCount % 64)) - 1
    }
  }

  /// The size on the wire, in bytes, of the bitmap of so many pages.
  public static func byteCount(forPages pageCount: Int) -> Int {
    (pageCount + 63) / 64 * 8
  }

  /// Whether the page at `index` (below `pageCount`) was received.
  public subscript(index: Int) -> Bool {
    get {
      precondition(index >= 0 && index < pageCount, "a page of the block")
      return words[index / 64] >> UInt64(index % 64) & 1 != 0
    }
    set {
      precondition(index >= 0 && index < pageCount, "a page of the block")
      let bit = UInt64(1) << UInt64(index % 64)
      if newValue { words[index / 64] |= bit } else { words[index / 64] &= ~bit }
    }
  }

  /// How many pages were received.
  public var receivedCount: Int {
    words.reduce(0) { $0 + $1.nonzeroBitCount }
  }

  /// The bits 64 at a time, bit i of word w for page 64·w + i; none is set beyond `pageCount`.
  public var wordValues: [UInt64] { words }

  /// The bitmap as it stands on the wire.
  public var bytes: [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(words.count * 8)
    for word in words { result.append(bigEndian: word.byteSwapped) }
    return result
  }
}
