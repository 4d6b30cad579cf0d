// Pages that need not travel: who says so, how long that holds, and how a later write undoes it.
//
// The argument that no write is lost, step by step and for every source of dirty pages, is in
// Docs/Exclusion.md.

internal import Synchronization

/// The pages of a machine's RAM whose content nobody needs until they are written again.
///
/// There are two kinds of word about a page, and any thread may give either at any time:
///
/// - *Declared* (``declare(_:offset:byteCount:)``), by the guest: the page is emptied at once, so
///   that it really is zeros from then on, and a write to it is seen by its content, whether or not
///   anything follows the guest's writes. It holds until the guest takes it back or writes to it.
/// - *Hinted* (``hint(_:)``), by the guest's balloon or the operator: nothing happens to the page,
///   it is only left out of the move under way, unless it is written meanwhile.
///
/// A move begins with ``beginMove(_:)``, asks through ``MigrationRound``, and ends with
/// ``endMove()``. What it leaves out is zeros at the other side.
public final class ExcludedPages: Sendable {
  private struct Move {
    /// Nil where the machine stands still, and so writes nothing.
    let log: (any DirtyLog)?
    let number: Int
    /// What is left out; a page gets in only after the log was armed for it.
    var excluded = SparsePageSet()
    /// What has got in since the move last asked: it may have sent these before.
    var fresh = SparsePageSet()
  }

  private struct State {
    var declared = SparsePageSet()
    var move: Move?
    var moveCount = 0
    var mayEmpty = true

    /// Leaves pages out of a move, if it is the one under way.
    @discardableResult
    mutating func leaveOut(_ range: RAMRange, ofMove number: Int?) -> Bool {
      guard let number, move?.number == number else { return false }
      move?.excluded.insert(range.pages)
      move?.fresh.insert(range.pages)
      return true
    }
  }

  /// How many pages are looked at in one go when a move begins.
  private static let pagesPerLook = 1 << 14

  private let ram: RAMList
  private let state = Mutex(State())

  /// Nothing is excluded yet.
  /// - Parameter ram: the machine's RAM.
  public init(of ram: RAMList) {
    self.ram = ram
  }

  // MARK: What is said

  /// Takes the guest's word that it does not need the whole pages of a piece of its memory, and
  /// empties them: they are zeros when this returns.
  ///
  /// The piece lies inside its block, `offset` bytes from its beginning.
  ///
  /// - Returns: whether it was taken; not while memory must not be given back (pages are still
  ///   arriving), over a private file (whose bytes would show again), or where the host refuses.
  public func declare(_ block: RAMBlock, offset: Int, byteCount: Int) -> Bool {
    let first = (offset + RAMRange.pageSize - 1) / RAMRange.pageSize * RAMRange.pageSize
    let end = (offset + byteCount) / RAMRange.pageSize * RAMRange.pageSize
    guard first < end else { return true }
    if case .privateFile = block.backing { return false }
    guard state.withLock({ $0.mayEmpty }) else { return false }
    let range = block.ramRange(offset: first, byteCount: end - first)
    let number = arm(range)
    guard (try? block.discard(offset: first, byteCount: end - first)) == end - first else {
      return false
    }
    let isLeftOut = state.withLock { state in
      state.declared.insert(range.pages)
      return state.leaveOut(range, ofMove: number)
    }
    // A move that does not leave the pages out has to learn that they changed.
    ram.dirty.mark(range, for: isLeftOut ? [.display, .code] : .all)
    if !isLeftOut, isMoving { ram.dirty.setAll(range, for: .migration) }
    return true
  }

  /// Takes somebody's word that the pages need not travel with the move under way.
  ///
  /// Whoever gives it promises that nobody reads them before they are written, and that whoever
  /// writes to them does so after this has returned.
  /// - Returns: whether it was taken: not where no move is under way.
  @discardableResult
  public func hint(_ range: RAMRange) -> Bool { hint([range]) }

  /// Takes somebody's word about several runs of pages, in ascending order.
  @discardableResult
  public func hint(_ ranges: [RAMRange]) -> Bool {
    guard let first = ranges.first, let last = ranges.last else { return true }
    // One arming for all of them, and what lies between is only noticed sooner.
    let all = RAMRange(pages: first.pages.lowerBound..<last.pages.upperBound)
    guard let number = arm(all) else { return false }
    return state.withLock { state in
      ranges.allSatisfy { state.leaveOut($0, ofMove: number) }
    }
  }

  /// Takes back whatever was said of pages: their content counts from now on, as it is.
  public func takeBack(_ range: RAMRange) {
    let wasLeftOut = state.withLock { state in
      state.declared.remove(range.pages)
      state.move?.fresh.remove(range.pages)
      return state.move?.excluded.remove(range.pages) ?? 0 > 0
    }
    // They are not as the other side has them, though nobody wrote to them.
    if wasLeftOut { ram.dirty.setAll(range, for: .migration) }
  }

  /// Takes back whatever was said of any page: the guest begins anew, and knows of nothing.
  public func takeBackAll() {
    for block in ram.blocks { takeBack(block.ramRange) }
  }

  /// Says whether declared pages may be emptied: not while pages still arrive from elsewhere.
  public func allowEmptying(_ isAllowed: Bool) {
    state.withLock { $0.mayEmpty = isAllowed }
  }

  /// How many pages are declared at present; some of them may have been written since.
  public var declaredPageCount: Int { state.withLock { $0.declared.pageCount } }

  /// Whether a page is declared, by its number in the RAM list's address space.
  public func isDeclared(_ page: Int) -> Bool { state.withLock { $0.declared.contains(page) } }

  // MARK: The move

  /// Begins to leave pages out of a move: those declared that still are zeros, from the beginning,
  /// and those that are declared or hinted at meanwhile.
  ///
  /// One move at a time. With a log, every page that is left out must be among those that the move
  /// has still to send, and no mark that the log sets from now on may be dropped.
  /// - Parameter log: what follows the machine's writes, started; nil for a machine that stands
  ///   still.
  public func beginMove(_ log: (any DirtyLog)?) {
    let declared = state.withLock { state in
      precondition(state.move == nil, "one move at a time")
      state.moveCount += 1
      state.move = Move(log: log, number: state.moveCount)
      return state.declared
    }
    guard !declared.isEmpty else { return }
    var untouched = SparsePageSet()
    for range in log?.untouchedAtStart ?? [] { untouched.insert(range.pages) }
    for block in ram.blocks where block.isMigratable {
      var looked = block.ramRange.pages.lowerBound
      while looked < block.ramRange.pages.upperBound {
        let end = min(looked + Self.pagesPerLook, block.ramRange.pages.upperBound)
        leaveOutWhatIsZero(declared, looked..<end, of: block, &untouched)
        looked = end
      }
    }
  }

  /// Leaves out the declared pages that nobody has written to since: they are zeros.
  ///
  /// Writes are noticed first, and the pages looked at then: a write before shows in the page, a
  /// later one in the log.
  private func leaveOutWhatIsZero(
    _ declared: SparsePageSet, _ pages: Range<Int>, of block: RAMBlock,
    _ untouched: inout SparsePageSet
  ) {
    guard !declared.words(of: pages).isEmpty, let number = arm(RAMRange(pages: pages)) else {
      return
    }
    // Most of them hold nothing, since they were emptied when they were declared. Such a page
    // needs no look: reading half of a guest's memory a page at a time would take a fault for each.
    let base = block.ramRange.pages.lowerBound
    let size = RAMRange.pageSize
    for run in block.untouchedRuns(
      offset: (pages.lowerBound - base) * size, byteCount: pages.count * size)
    {
      untouched.insert(base + run.lowerBound..<base + run.upperBound)
    }
    declared.forEachRun(in: pages) { run in
      var page = run.lowerBound
      while page < run.upperBound {
        let (count, isUntouched) = untouched.uniformPrefix(of: page..<run.upperBound)
        let part = page..<page + count
        let zero =
          isUntouched
          ? part
          : part.prefix { page in
            (try? block.isZero(offset: (page - base) * size, byteCount: size)) ?? false
          }
        state.withLock { state in
          // What was taken back meanwhile stays so.
          let declared = state.declared
          declared.forEachRun(in: zero) { state.leaveOut(RAMRange(pages: $0), ofMove: number) }
        }
        page = zero.upperBound < part.upperBound ? zero.upperBound + 1 : part.upperBound
      }
    }
  }

  /// Ends the move; hints are forgotten, declarations stay.
  /// - Returns: what was left out of it at last.
  @discardableResult
  public func endMove() -> LeftOutPages {
    state.withLock { state in
      defer { state.move = nil }
      return LeftOutPages(pages: state.move?.excluded ?? SparsePageSet())
    }
  }

  private var isMoving: Bool { state.withLock { $0.move != nil } }

  /// Has writes to pages noticed from now on, where a move is under way.
  /// - Returns: the number of the move that this was done for; nil where there is none, or where it
  ///   cannot be done (which the move finds out by itself).
  private func arm(_ range: RAMRange) -> Int? {
    let (number, log) = state.withLock { ($0.move?.number, $0.move?.log) }
    guard let number, (try? log?.willSend(range)) != nil || log == nil else { return nil }
    return number
  }

  // MARK: What the rounds of a move ask

  /// Takes what was written out of what is left out.
  ///
  /// Nothing gets in meanwhile: what is declared later than a write that `harvest` finds stays in,
  /// what is declared earlier goes.
  ///
  /// - Parameters:
  ///   - pages: all pages of a block.
  ///   - harvest: takes what was written from the bitmaps, as a bitmap whose bit 0 is the first
  ///     page; not called where no move is under way.
  ///   - fresh: called with the pages that have got in since the last time and are still in: the
  ///     word of the bitmap, and the bits.
  /// - Returns: whether a move is under way.
  func settle(
    _ pages: Range<Int>, harvest: () -> [UInt64], fresh: (_ word: Int, _ bits: UInt64) -> Void
  ) -> Bool {
    let base = pages.lowerBound / 64
    return state.withLock { state in
      guard state.move != nil else { return false }
      let written = harvest()
      for words in state.move?.excluded.words(of: pages) ?? [] {
        for word in words where written[word - base] != 0 {
          state.move?.excluded.remove(word: word, mask: written[word - base])
          state.move?.fresh.remove(word: word, mask: written[word - base])
        }
      }
      for words in state.move?.fresh.words(of: pages) ?? [] {
        for word in words {
          let bits = state.move?.fresh[word: word] ?? 0
          if bits != 0 { fresh(word - base, bits) }
        }
      }
      state.move?.fresh.remove(pages)
      return true
    }
  }

  /// How many of the pages from the first of a run on are all left out, or all not; at least 1.
  func prefix(of pages: Range<Int>) -> (count: Int, isExcluded: Bool) {
    state.withLock { state in
      guard let move = state.move else { return (pages.count, false) }
      let (count, isIn) = move.excluded.uniformPrefix(of: pages)
      return (count, isIn)
    }
  }

  /// Calls `body` for each word of a block's bitmap that has pages which are left out.
  func forEachWord(of pages: Range<Int>, _ body: (_ word: Int, _ bits: UInt64) -> Void) {
    state.withLock { state in
      guard let move = state.move else { return }
      for words in move.excluded.words(of: pages) {
        for word in words where move.excluded[word: word] != 0 {
          body(word - pages.lowerBound / 64, move.excluded[word: word])
        }
      }
    }
  }

  /// Whether a page is left out of the move under way.
  public func isLeftOut(_ page: Int) -> Bool {
    state.withLock { $0.move?.excluded.contains(page) ?? false }
  }

  /// The pages of a run that are left out of the move under way, as runs in their order.
  public func leftOutRuns(in pages: Range<Int>) -> [Range<Int>] {
    state.withLock { $0.move?.excluded.runs(in: pages) ?? [] }
  }

  /// How many pages are left out of the move under way.
  public var leftOutPageCount: Int { state.withLock { $0.move?.excluded.pageCount ?? 0 } }
}

/// What was left out of a move that is over: its destination has zeros for it.
public struct LeftOutPages: Sendable {
  let pages: SparsePageSet

  /// Whether a page is among them, by its number in the RAM list's address space.
  public func contains(_ page: Int) -> Bool { pages.contains(page) }

  /// Those of a run of pages that are among them, as runs in their order.
  public func runs(in pages: Range<Int>) -> [Range<Int>] { self.pages.runs(in: pages) }
}

extension SparsePageSet {
  /// The pages of the set inside a run, as runs in their order; a longer one may come in pieces.
  fileprivate func runs(in pages: Range<Int>) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    forEachRun(in: pages) { runs.append($0) }
    return runs
  }
}
