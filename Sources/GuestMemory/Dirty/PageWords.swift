// A run of pages as words of a bitmap: a partial one at either end, whole ones between.

/// How a run of pages lies in the 64-bit words of a bitmap.
struct PageWords {
  /// The words all of whose pages are in the run.
  let whole: Range<Int>
  private let first: (word: Int, mask: UInt64)
  private let last: (word: Int, mask: UInt64)

  init(_ pages: Range<Int>) {
    let start = pages.lowerBound
    let end = pages.upperBound
    let firstWhole = (start + 63) / 64
    let endWhole = end / 64
    if pages.isEmpty {
      (first, last) = ((0, 0), (0, 0))
      whole = 0..<0
    } else if firstWhole > endWhole {
      // All in one word, at neither of its ends.
      first = (endWhole, Self.mask(from: start % 64) & ~Self.mask(from: end % 64))
      last = (0, 0)
      whole = 0..<0
    } else {
      first = start % 64 == 0 ? (0, 0) : (start / 64, Self.mask(from: start % 64))
      last = end % 64 == 0 ? (0, 0) : (endWhole, ~Self.mask(from: end % 64))
      whole = firstWhole..<endWhole
    }
  }

  /// The bits from `bit` (below 64) upwards.
  @inline(__always)
  static func mask(from bit: Int) -> UInt64 { ~0 << UInt64(bit) }

  /// Calls `body` for the partial words, none to two of them.
  @inline(__always)
  func forEachEdge(_ body: (_ word: Int, _ mask: UInt64) -> Void) {
    if first.mask != 0 { body(first.word, first.mask) }
    if last.mask != 0 { body(last.word, last.mask) }
  }

  /// Calls `body` for every word of a run of pages, with the bits that the run has in it.
  @inline(__always)
  static func forEach(of pages: Range<Int>, _ body: (_ word: Int, _ mask: UInt64) -> Void) {
    var page = pages.lowerBound
    while page < pages.upperBound {
      let end = min(pages.upperBound, (page / 64 + 1) * 64)
      let above = end % 64 == 0 ? ~0 : ~mask(from: end % 64)
      body(page / 64, mask(from: page % 64) & above)
      page = end
    }
  }
}
