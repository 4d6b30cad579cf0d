// The pages that a move has still to send, round by round.

/// What is left to send of a machine's RAM: a bitmap a block, filled from the migration client's.
///
/// The first round is everything but what is excluded; each later one is what was written
/// meanwhile. Belongs to one thread. The blocks are those that the list had at the beginning.
public struct MigrationRound {
  /// A run of pages of one block.
  public struct Run: Sendable {
    /// The block.
    public let block: RAMBlock
    /// Page numbers, counted from the block's beginning in units of 4096 bytes.
    public let pages: Range<Int>

    /// The same pages in the RAM list's address space.
    public var ramRange: RAMRange {
      block.ramRange(
        offset: pages.lowerBound * RAMRange.pageSize, byteCount: pages.count * RAMRange.pageSize)
    }
  }

  private struct Remainder {
    let block: RAMBlock
    var words: [UInt64]
    var pageCount = 0
  }

  /// How many pages are left, in all blocks together.
  public private(set) var remainingPageCount = 0

  private let dirty: DirtyMemory
  private var remainders: [Remainder] = []
  /// Where the round has got to.
  private var blockIndex = 0
  private var page = 0

  /// Begins with the first round: all pages of the blocks whose content belongs to the machine's
  /// state, except those excluded.
  ///
  /// Logging has to be on already. What it has noticed so far is forgotten, as it is sent anyway.
  ///
  /// - Parameters:
  ///   - ram: the machine's RAM.
  ///   - excluded: pages whose content does not matter until they are written again.
  public init(firstOf ram: RAMList, excluding excluded: [RAMRange] = []) {
    dirty = ram.dirty
    for block in ram.blocks where block.isMigratable {
      dirty.clear(block.ramRange, for: .migration)
      remainders.append(Remainder(block: block, words: Self.allSet(block.pageCount)))
      remainders[remainders.count - 1].pageCount = block.pageCount
      remainingPageCount += block.pageCount
    }
    for range in excluded { remove(range) }
  }

  private static func allSet(_ pageCount: Int) -> [UInt64] {
    var words = [UInt64](repeating: .max, count: (pageCount + 63) / 64)
    if pageCount % 64 != 0 { words[words.count - 1] = ~PageWords.mask(from: pageCount % 64) }
    return words
  }

  /// Takes what was written since the last time, and starts over from the first block.
  ///
  /// The source of dirty pages has to be synced before.
  /// - Returns: how many pages were written, and how many of them were not left to send anyway.
  @discardableResult
  public mutating func harvest() -> Harvest {
    var total = Harvest()
    for index in remainders.indices {
      let range = remainders[index].block.ramRange
      var words = remainders[index].words.mutableSpan
      let harvest = dirty.harvestAndClear(range, for: .migration, into: &words)
      remainders[index].pageCount += harvest.addedCount
      total += harvest
    }
    remainingPageCount += total.addedCount
    (blockIndex, page) = (0, 0)
    return total
  }

  /// Takes pages out of the round: the guest has said that their content does not matter.
  /// - Returns: how many were left to send.
  @discardableResult
  public mutating func remove(_ range: RAMRange) -> Int {
    var removed = 0
    for index in remainders.indices {
      let whole = remainders[index].block.ramRange.pages
      let part = range.pages.clamped(to: whole)
      guard !part.isEmpty else { continue }
      let first = whole.lowerBound
      let pages = part.lowerBound - first..<part.upperBound - first
      removed += clear(pages, ofBlock: index)
    }
    return removed
  }

  /// The next pages to send, and takes them out; nil at the end of the round.
  ///
  /// Where nothing is left, that is said at once, without looking through the bitmaps.
  /// - Parameter limit: how many pages to give at most; at least 1.
  public mutating func nextRun(limit: Int) -> Run? {
    precondition(limit > 0, "a run of at least one page")
    while remainingPageCount > 0, blockIndex < remainders.count {
      let remainder = remainders[blockIndex]
      if remainder.pageCount > 0, let pages = Self.run(in: remainder.words, from: page, limit) {
        _ = clear(pages, ofBlock: blockIndex)
        page = pages.upperBound
        return Run(block: remainder.block, pages: pages)
      }
      blockIndex += 1
      page = 0
    }
    return nil
  }

  private mutating func clear(_ pages: Range<Int>, ofBlock index: Int) -> Int {
    var removed = 0
    PageWords.forEach(of: pages) { word, mask in
      removed += (remainders[index].words[word] & mask).nonzeroBitCount
      remainders[index].words[word] &= ~mask
    }
    remainders[index].pageCount -= removed
    remainingPageCount -= removed
    return removed
  }

  /// The first run of set bits from `start` on.
  private static func run(in words: [UInt64], from start: Int, _ limit: Int) -> Range<Int>? {
    guard let first = firstBit(of: words, from: start, isSet: true) else { return nil }
    let bound = min(first + limit, words.count * 64)
    let end = firstBit(of: words, from: first, before: bound, isSet: false) ?? bound
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
