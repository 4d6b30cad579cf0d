// What a move has still to send of one block, and what the other side has of it.

/// One block's part of a round.
struct RoundRemainder {
  let block: RAMBlock
  /// The pages that are left to send.
  var left: PageBits
  /// Pages that are left as well, but at the end of the round.
  ///
  /// They keep changing, and the later they go, the likelier for the last time. Never in ``left``
  /// at the same time.
  private(set) var late: PageBits
  /// What was written the last time that somebody asked.
  private var lastWritten: [UInt64] = []
  /// The pages that are left out: the other side has zeros for them.
  private(set) var leftOut: PageBits
  /// The pages that were sent as they are, so that the other side may have more than zeros.
  private var delivered: PageBits
  private let excludes: Bool

  /// All of a block is left to send.
  /// - Parameter excludes: whether pages may be left out: only then is it kept what the other side
  ///   has.
  init(_ block: RAMBlock, excludes: Bool) {
    self.block = block
    self.excludes = excludes
    left = PageBits(pageCount: block.pageCount, isFull: true)
    late = PageBits(pageCount: block.pageCount, isFull: false)
    leftOut = PageBits(pageCount: excludes ? block.pageCount : 0, isFull: false)
    delivered = leftOut
  }

  /// How many pages are left, those at the end of the round included.
  var pageCount: Int { left.pageCount + late.pageCount }

  /// Adds what was written; how many pages were not left to send anyway.
  mutating func takeWritten(_ written: [UInt64]) -> Int {
    var added = 0
    for (word, bits) in written.enumerated() where bits != 0 {
      leftOut.remove(word: word, bits)
      let isLeft = bits & (left.words[word] | late.words[word])
      added += (bits & ~isLeft).nonzeroBitCount
      let keepsChanging = lastWritten.isEmpty ? 0 : bits & lastWritten[word]
      left.insert(word: word, bits & ~late.words[word] & ~keepsChanging)
      left.remove(word: word, keepsChanging)
      late.insert(word: word, keepsChanging)
    }
    lastWritten = written
    return added
  }

  /// Has the pages that keep changing sent now, all others being through.
  mutating func takeLate() {
    for (word, bits) in late.words.enumerated() where bits != 0 { left.insert(word: word, bits) }
    late = PageBits(pageCount: block.pageCount, isFull: false)
  }

  /// Takes pages out; how many were left to send.
  mutating func remove(_ pages: Range<Int>) -> Int { left.remove(pages) + late.remove(pages) }

  /// Adds pages that were sent and did not arrive; how many were not left to send anyway.
  mutating func putBack(_ pages: Range<Int>) -> Int {
    var added = 0
    PageWords.forEach(of: pages) { word, mask in
      added += left.insert(word: word, mask & ~late.words[word])
      if excludes { leftOut.remove(word: word, mask) }
    }
    return added
  }

  /// Takes pages that have come to be excluded: those that were sent have to be sent as zeros.
  mutating func takeFresh(word: Int, bits: UInt64) {
    left.insert(word: word, bits & delivered.words[word] & ~late.words[word])
  }

  /// Takes pages that are excluded out of what is left, unless the other side has to be told.
  mutating func leaveOut(word: Int, bits: UInt64) {
    let needless = bits & left.words[word] & ~delivered.words[word]
    left.remove(word: word, needless)
    leftOut.insert(word: word, needless)
  }

  /// Takes the first pages of a run that is left, as many as are to be sent alike.
  /// - Returns: those pages, and what is to be sent of them; nil where nothing is.
  mutating func take(
    _ pages: Range<Int>, isExcluded: Bool
  ) -> (pages: Range<Int>, content: MigrationRound.Content?) {
    guard isExcluded else {
      left.remove(pages)
      delivered.insert(pages)
      return (pages, .memory)
    }
    let (count, wasDelivered) = delivered.uniformPrefix(of: pages)
    let part = pages.prefix(count)
    left.remove(part)
    leftOut.insert(part)
    delivered.remove(part)
    return (part, wasDelivered ? .zeros : nil)
  }
}

/// A bitmap of a block's pages that knows how many are set.
struct PageBits {
  private(set) var words: [UInt64]
  private(set) var pageCount: Int

  init(pageCount: Int, isFull: Bool) {
    words = [UInt64](repeating: isFull ? .max : 0, count: (pageCount + 63) / 64)
    if isFull, pageCount % 64 != 0 {
      words[words.count - 1] = ~PageWords.mask(from: pageCount % 64)
    }
    self.pageCount = isFull ? pageCount : 0
  }

  /// Takes what is dirty of a range straight into the bitmap.
  mutating func harvest(_ dirty: DirtyMemory, _ range: RAMRange) -> Harvest {
    var span = words.mutableSpan
    let found = dirty.harvestAndClear(range, for: .migration, into: &span)
    pageCount += found.addedCount
    return found
  }

  /// Sets bits of a word; how many were clear.
  @discardableResult
  mutating func insert(word: Int, _ bits: UInt64) -> Int {
    let added = (bits & ~words[word]).nonzeroBitCount
    words[word] |= bits
    pageCount += added
    return added
  }

  /// Clears bits of a word; how many were set.
  @discardableResult
  mutating func remove(word: Int, _ bits: UInt64) -> Int {
    let removed = (bits & words[word]).nonzeroBitCount
    words[word] &= ~bits
    pageCount -= removed
    return removed
  }

  /// Sets the bits of a run.
  mutating func insert(_ pages: Range<Int>) {
    PageWords.forEach(of: pages) { word, mask in insert(word: word, mask) }
  }

  /// Clears the bits of a run; how many were set.
  @discardableResult
  mutating func remove(_ pages: Range<Int>) -> Int {
    var removed = 0
    PageWords.forEach(of: pages) { word, mask in removed += remove(word: word, mask) }
    return removed
  }

  /// How many pages from the first of a run on are all set, or all clear; at least 1.
  func uniformPrefix(of pages: Range<Int>) -> (count: Int, isSet: Bool) {
    precondition(!pages.isEmpty, "a run of at least one page")
    let isSet = words[pages.lowerBound / 64] >> UInt64(pages.lowerBound % 64) & 1 == 1
    let end =
      Self.firstBit(of: words, from: pages.lowerBound, before: pages.upperBound, isSet: !isSet)
      ?? pages.upperBound
    return (end - pages.lowerBound, isSet)
  }

  /// The first run of set bits from `start` on, of at most `limit`; nil at once where none is set.
  func run(from start: Int, _ limit: Int) -> Range<Int>? {
    guard pageCount > 0, let first = Self.firstBit(of: words, from: start, isSet: true) else {
      return nil
    }
    let room = words.count * 64 - first
    let bound = first + min(limit, room)
    let end = Self.firstBit(of: words, from: first, before: bound, isSet: false) ?? bound
    return first..<end
  }

  private static func firstBit(
    of words: [UInt64], from start: Int, before limit: Int = .max, isSet: Bool
  ) -> Int? {
    var bit = start
    let end = min(limit, words.count * 64)
    while bit < end {
      let word = isSet ? words[bit / 64] : ~words[bit / 64]
      let rest = word & PageWords.mask(from: bit % 64)
      if rest != 0 {
        let found = bit / 64 * 64 + rest.trailingZeroBitCount
        return found < end ? found : nil
      }
      bit = (bit / 64 + 1) * 64
    }
    return nil
  }
}
