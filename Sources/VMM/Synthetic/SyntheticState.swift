// All that a stand-in's workload remembers, kept in the guest's memory so that it travels.

/// The state of a stand-in's workload, as words of a page of the guest's memory.
///
/// It is in the page whenever the machine is stopped; while it runs, in the thread that works.
struct SyntheticState: Equatable, Sendable {
  /// Where the state's page is, in bytes from the beginning of the memory.
  static let byteOffset = 1 << 20
  /// "GODWITSY", which a page that holds a state begins with.
  static let magic: UInt64 = 0x5953_5449_5744_4F47
  private static let firstRandom: UInt64 = 88_172_645_463_325_252

  /// How many pages the workload has.
  var pageCount = 0
  /// How many of them have been filled; all are before the first report.
  var filledCount = 0
  /// The next page that a sequential writer takes, and that the checker takes.
  var writeCursor = 0
  var checkCursor = 0
  /// The generator of random numbers.
  var random = Self.firstRandom
  /// Pages rewritten, checked and found wrong since the beginning.
  var writtenCount: UInt64 = 0
  var checkedCount: UInt64 = 0
  var badCount: UInt64 = 0
  /// Milliseconds since the pages were filled, and since the last report.
  var milliseconds: UInt64 = 0
  var sinceReport: UInt64 = 0
  /// The host's clock at the last millisecond counted and at the last turn; the longest pause
  /// between two turns since the last report; nanoseconds.
  var lastMillisecond: UInt64 = 0
  var lastTurn: UInt64 = 0
  var longestGap: UInt64 = 0
  /// What is due to be written and checked.
  var writes = SyntheticQuota()
  var checks = SyntheticQuota()
  /// How many pages are in use, those from the first on; the others are free.
  var usedCount = 0
  /// What is due to be used again.
  var reuses = SyntheticQuota()

  init() {}

  /// The state in the memory's page for it; nil where it holds none.
  init?(in memory: SyntheticMemory) {
    let first = Self.byteOffset / SyntheticMemory.wordByteCount
    guard memory.wordCount > first + 512, memory[first] == Self.magic else { return nil }
    var next = first
    func word() -> UInt64 {
      next += 1
      return memory[next]
    }
    // What comes from a peer is bounded by the memory there is.
    func count() -> Int { Int(min(word(), UInt64(memory.wordCount))) }
    pageCount = count()
    filledCount = count()
    writeCursor = count()
    checkCursor = count()
    random = max(word(), 1)
    writtenCount = word()
    checkedCount = word()
    badCount = word()
    milliseconds = word()
    sinceReport = word()
    lastMillisecond = word()
    lastTurn = word()
    longestGap = word()
    writes = SyntheticQuota(fraction: word() % 1000, due: min(word(), 1 << 32))
    checks = SyntheticQuota(fraction: word() % 1000, due: min(word(), 1 << 32))
    // Where nothing was ever free there is a zero.
    let used = count()
    usedCount = used == 0 ? pageCount : used
    reuses = SyntheticQuota(fraction: word() % 1000, due: min(word(), 1 << 32))
  }

  /// Puts the state into the memory's page for it.
  func store(in memory: SyntheticMemory) {
    let first = Self.byteOffset / SyntheticMemory.wordByteCount
    let words: [UInt64] = [
      Self.magic, UInt64(pageCount), UInt64(filledCount), UInt64(writeCursor),
      UInt64(checkCursor), random, writtenCount, checkedCount, badCount, milliseconds,
      sinceReport, lastMillisecond, lastTurn, longestGap, writes.fraction, writes.due,
      checks.fraction, checks.due, UInt64(usedCount), reuses.fraction, reuses.due,
    ]
    for (index, word) in words.enumerated() { memory[first + index] = word }
    memory.noteWritten(pageAt: first)
  }

  /// Makes the memory's page hold no state.
  static func erase(in memory: SyntheticMemory) {
    memory[byteOffset / SyntheticMemory.wordByteCount] = 0
  }
}

/// Work that comes due with time: so much a second, in whole pages.
struct SyntheticQuota: Equatable, Sendable {
  /// Thousandths of a page.
  var fraction: UInt64 = 0
  /// Whole pages.
  var due: UInt64 = 0

  /// Counts a millisecond; at most a quarter of a second's work is ever in arrears, so that a
  /// long pause is followed by no storm.
  mutating func accrue(perSecond: UInt64) {
    fraction += perSecond
    due = min(due + fraction / 1000, perSecond / 4 + 1)
    fraction %= 1000
  }

  /// Takes a part of what is due.
  mutating func take(atMost most: UInt64) -> UInt64 {
    let count = min(due, most)
    due -= count
    return count
  }
}
