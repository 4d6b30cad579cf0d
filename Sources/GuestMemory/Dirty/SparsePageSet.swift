// A set of page numbers that takes memory only where it has some.

/// A set of pages of the RAM list's address space, in chunks of bits that exist where a page does.
///
/// A machine of 1 TiB none of whose pages are in the set costs nothing; what is in it costs 4 KiB
/// for each 128 MiB that has any.
struct SparsePageSet: Sendable {
  static let wordsPerChunk = 512

  private struct Chunk {
    var words = [UInt64](repeating: 0, count: SparsePageSet.wordsPerChunk)
    var pageCount = 0
  }

  private var chunks: [Int: Chunk] = [:]
  /// How many pages are in the set.
  private(set) var pageCount = 0

  var isEmpty: Bool { pageCount == 0 }

  /// The pages of a word of a bitmap over the whole address space: bit i is page 64 x `word` + i.
  subscript(word word: Int) -> UInt64 {
    chunks[word / Self.wordsPerChunk]?.words[word % Self.wordsPerChunk] ?? 0
  }

  func contains(_ page: Int) -> Bool { self[word: page / 64] >> UInt64(page % 64) & 1 == 1 }

  /// How many pages from the first of a run on are all in the set, or all not in it; at least 1.
  func uniformPrefix(of pages: Range<Int>) -> (count: Int, isIn: Bool) {
    precondition(!pages.isEmpty, "a run of at least one page")
    let isIn = contains(pages.lowerBound)
    var page = pages.lowerBound
    while page < pages.upperBound {
      let word = self[word: page / 64]
      let other = (isIn ? ~word : word) & PageWords.mask(from: page % 64)
      if other != 0 {
        page = page / 64 * 64 + other.trailingZeroBitCount
        break
      }
      page = (page / 64 + 1) * 64
    }
    return (min(page, pages.upperBound) - pages.lowerBound, isIn)
  }

  /// The words that a run of pages touches, as far as the set has pages near them.
  func words(of pages: Range<Int>) -> [Range<Int>] {
    guard !isEmpty, !pages.isEmpty else { return [] }
    let all = pages.lowerBound / 64..<(pages.upperBound - 1) / 64 + 1
    let size = Self.wordsPerChunk
    let wanted = all.lowerBound / size..<(all.upperBound - 1) / size + 1
    // Whichever are fewer: the chunks there are, or those that are asked for.
    let found =
      chunks.count < wanted.count
      ? chunks.keys.filter(wanted.contains).sorted() : wanted.filter { chunks[$0] != nil }
    return found.map { ($0 * size..<($0 + 1) * size).clamped(to: all) }
  }

  /// Calls `body` for every run of pages of the set inside `pages`, in order; runs of more than one
  /// word come in parts.
  func forEachRun(in pages: Range<Int>, _ body: (Range<Int>) -> Void) {
    for words in words(of: pages) {
      for word in words {
        let part = (word * 64..<word * 64 + 64).clamped(to: pages)
        var rest = self[word: word] & PageWords.mask(from: part.lowerBound - word * 64)
        if part.upperBound < word * 64 + 64 { rest &= ~PageWords.mask(from: part.upperBound % 64) }
        while rest != 0 {
          let first = rest.trailingZeroBitCount
          let count = (~(rest >> UInt64(first))).trailingZeroBitCount
          body(word * 64 + first..<word * 64 + first + count)
          rest = first + count == 64 ? 0 : rest & PageWords.mask(from: first + count)
        }
      }
    }
  }

  /// Adds pages; how many were not in the set.
  @discardableResult
  mutating func insert(_ pages: Range<Int>) -> Int {
    var added = 0
    PageWords.forEach(of: pages) { word, mask in
      let (chunk, index) = word.quotientAndRemainder(dividingBy: Self.wordsPerChunk)
      let new = (mask & ~(chunks[chunk]?.words[index] ?? 0)).nonzeroBitCount
      guard new > 0 else { return }
      chunks[chunk, default: Chunk()].words[index] |= mask
      chunks[chunk, default: Chunk()].pageCount += new
      added += new
    }
    pageCount += added
    return added
  }

  /// Takes pages out; how many were in the set.
  @discardableResult
  mutating func remove(_ pages: Range<Int>) -> Int {
    var removed = 0
    for words in words(of: pages) {
      let part = (words.lowerBound * 64..<words.upperBound * 64).clamped(to: pages)
      PageWords.forEach(of: part) { word, mask in removed += remove(word: word, mask: mask) }
    }
    return removed
  }

  /// Takes the pages of `mask` in a word out; how many were in the set.
  @discardableResult
  mutating func remove(word: Int, mask: UInt64) -> Int {
    let (chunk, index) = word.quotientAndRemainder(dividingBy: Self.wordsPerChunk)
    let old = (mask & (chunks[chunk]?.words[index] ?? 0)).nonzeroBitCount
    guard old > 0 else { return 0 }
    chunks[chunk]?.words[index] &= ~mask
    chunks[chunk]?.pageCount -= old
    // A chunk without pages goes, so that nothing is kept of what was taken out.
    if chunks[chunk]?.pageCount == 0 { chunks[chunk] = nil }
    pageCount -= old
    return old
  }
}
