// The pages that a move has still to send, round by round.

/// What is left to send of a machine's RAM: a bitmap a block, filled from the migration client's.
///
/// The first round is everything but what is excluded; each later one is what was written
/// meanwhile, and what was excluded after it had been sent. Pages that were written in two rounds
/// running go at the end of the round: with `excluding`, which keeps account of what is written.
/// Belongs to one thread. The blocks are
/// those that the list had at the beginning.
public struct MigrationRound {
  /// What is to be sent of a run of pages.
  public enum Content: Sendable {
    /// What is in them.
    case memory
    /// Zeros, whatever is in them: the other side has what nobody needs any more.
    case zeros
  }

  /// A run of pages of one block.
  public struct Run: Sendable {
    /// The block.
    public let block: RAMBlock
    /// Page numbers, counted from the block's beginning in units of 4096 bytes.
    public let pages: Range<Int>
    /// What is to be sent of them.
    public let content: Content

    /// The same pages in the RAM list's address space.
    public var ramRange: RAMRange {
      block.ramRange(
        offset: pages.lowerBound * RAMRange.pageSize, byteCount: pages.count * RAMRange.pageSize)
    }
  }

  /// How many pages are left, in all blocks together.
  ///
  /// Some of them may come to be excluded before they are sent.
  public var remainingPageCount: Int { remainders.reduce(0) { $0 + $1.pageCount } }

  /// How many pages are left out at present: the other side has zeros for them.
  ///
  /// One that is written again is left to send instead.
  public var excludedPageCount: Int { remainders.reduce(0) { $0 + $1.leftOut.pageCount } }

  private let dirty: DirtyMemory
  private let excluded: ExcludedPages?
  private var remainders: [RoundRemainder] = []
  /// Where the round has got to.
  private var blockIndex = 0
  private var page = 0

  /// Begins with the first round: all pages of the blocks whose content belongs to the machine's
  /// state, except those excluded.
  ///
  /// Logging has to be on already. What it has noticed so far is forgotten, as it is sent anyway.
  /// With `excluded`, the move begins there as well; whoever ends the move says so to it
  /// (``ExcludedPages/endMove()``).
  ///
  /// - Parameters:
  ///   - ram: the machine's RAM.
  ///   - excluded: the pages that need not travel; nil sends everything.
  ///   - log: what follows the machine's writes; nil where it stands still.
  public init(
    firstOf ram: RAMList, excluding excluded: ExcludedPages? = nil,
    following log: (any DirtyLog)? = nil
  ) {
    dirty = ram.dirty
    self.excluded = excluded
    for block in ram.blocks where block.isMigratable {
      dirty.clear(block.ramRange, for: .migration)
      remainders.append(RoundRemainder(block, excludes: excluded != nil))
    }
    // Only now: from here on no mark is dropped.
    excluded?.beginMove(log)
    for index in remainders.indices { leaveOut(index) }
  }

  /// Takes what was written since the last time, and starts over from the first block.
  ///
  /// The source of dirty pages has to be synced before.
  /// - Returns: how many pages were written, and how many of them were not left to send anyway.
  @discardableResult
  public mutating func harvest() -> Harvest {
    var total = Harvest()
    for index in remainders.indices { total += harvest(index) }
    (blockIndex, page) = (0, 0)
    return total
  }

  private mutating func harvest(_ index: Int) -> Harvest {
    let range = remainders[index].block.ramRange
    var found = Harvest()
    let isSettled =
      excluded?.settle(range.pages) {
        var written = [UInt64](repeating: 0, count: remainders[index].left.words.count)
        var span = written.mutableSpan
        found.pageCount = dirty.harvestAndClear(range, for: .migration, into: &span).pageCount
        found.addedCount = remainders[index].takeWritten(written)
        return written
      } fresh: { word, bits in
        remainders[index].takeFresh(word: word, bits: bits)
      } ?? false
    if isSettled {
      leaveOut(index)
    } else {
      found = remainders[index].left.harvest(dirty, range)
    }
    return found
  }

  /// Takes out of what is left what need not be sent.
  private mutating func leaveOut(_ index: Int) {
    let pages = remainders[index].block.ramRange.pages
    excluded?.forEachWord(of: pages) { word, bits in
      remainders[index].leaveOut(word: word, bits: bits)
    }
  }

  /// Takes pages out of the round, as if they had been sent.
  /// - Returns: how many were left to send.
  @discardableResult
  public mutating func remove(_ range: RAMRange) -> Int {
    var removed = 0
    for index in remainders.indices {
      let whole = remainders[index].block.ramRange.pages
      let part = range.pages.clamped(to: whole)
      guard !part.isEmpty else { continue }
      let first = whole.lowerBound
      removed += remainders[index].remove(part.lowerBound - first..<part.upperBound - first)
    }
    return removed
  }

  /// Puts pages into the round again, which were taken out and did not arrive.
  /// - Returns: how many were not left to send anyway.
  @discardableResult
  public mutating func putBack(_ range: RAMRange) -> Int {
    var added = 0
    for index in remainders.indices {
      let whole = remainders[index].block.ramRange.pages
      let part = range.pages.clamped(to: whole)
      guard !part.isEmpty else { continue }
      let first = whole.lowerBound
      added += remainders[index].putBack(part.lowerBound - first..<part.upperBound - first)
    }
    if added > 0 { (blockIndex, page) = (0, 0) }
    return added
  }

  /// The next pages to send, and takes them out; nil at the end of the round.
  ///
  /// Where nothing is left, that is said at once, without looking through the bitmaps. Pages that
  /// have come to be excluded meanwhile are passed over.
  /// - Parameter limit: how many pages to give at most; at least 1.
  public mutating func nextRun(limit: Int) -> Run? {
    precondition(limit > 0, "a run of at least one page")
    while true {
      guard blockIndex < remainders.count else {
        guard remainders.contains(where: { $0.late.pageCount > 0 }) else { return nil }
        for index in remainders.indices { remainders[index].takeLate() }
        (blockIndex, page) = (0, 0)
        continue
      }
      if let pages = remainders[blockIndex].left.run(from: page, limit) {
        if let run = take(pages) { return run }
      } else {
        blockIndex += 1
        page = 0
      }
    }
  }

  /// Takes the first pages of a run that is left, as many as are to be sent alike; nil where they
  /// are not to be sent at all.
  private mutating func take(_ pages: Range<Int>) -> Run? {
    let block = remainders[blockIndex].block
    guard let excluded else {
      remainders[blockIndex].left.remove(pages)
      page = pages.upperBound
      return Run(block: block, pages: pages, content: .memory)
    }
    let base = block.ramRange.pages.lowerBound
    let (count, isExcluded) = excluded.prefix(
      of: base + pages.lowerBound..<base + pages.upperBound)
    let (taken, content) = remainders[blockIndex].take(
      pages.prefix(count), isExcluded: isExcluded)
    page = taken.upperBound
    return content.map { Run(block: block, pages: taken, content: $0) }
  }

  /// The pages that are left out, as runs of zeros: for a destination that wants every page.
  public func excludedRuns() -> [Run] {
    var runs: [Run] = []
    for remainder in remainders {
      var page = 0
      while let pages = remainder.leftOut.run(from: page, .max) {
        runs.append(Run(block: remainder.block, pages: pages, content: .zeros))
        page = pages.upperBound
      }
    }
    return runs
  }
}
