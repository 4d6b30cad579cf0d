// What the demonstration's guest does, done by a thread of the host on the guest's memory.

import DemoGuest

/// The demonstration's workload without its guest: a stand-in for hosts without KVM.
///
/// Pages, stamps and reports are those of the guest; its table of generations lies behind the
/// state's page, its pages behind the table.
struct SyntheticWorkload {
  /// What a turn of the loop leads to.
  enum Turn: Equatable {
    /// There is more to do at once.
    case busy
    /// Nothing is due before the next millisecond.
    case idle
  }

  private static let wordsPerPage = SyntheticMemory.pageByteCount / SyntheticMemory.wordByteCount
  private static let pagesPerTurn: UInt64 = 64
  private static let pagesPerMebibyte = (1 << 20) / SyntheticMemory.pageByteCount

  private let memory: SyntheticMemory
  private let settings: MachineConfiguration.Workload
  private let tableWord: Int
  private let firstPageWord: Int
  private let checksPerSecond: UInt64
  /// How many pages are never free.
  private let keptCount: Int
  /// Told which bytes of the memory are free.
  private let tellFree: (Range<Int>) -> Void
  private(set) var state: SyntheticState

  /// A workload that goes on where the memory says it was, or begins anew.
  /// - Parameter tellFree: told which bytes of the memory are free.
  init(
    _ settings: MachineConfiguration.Workload, in memory: SyntheticMemory,
    tellFree: @escaping (Range<Int>) -> Void = { _ in }
  ) {
    self.memory = memory
    self.tellFree = tellFree
    self.settings = settings
    tableWord = SyntheticState.byteOffset / SyntheticMemory.wordByteCount + Self.wordsPerPage
    let available = max(0, memory.wordCount - tableWord) / Self.wordsPerPage
    // A generation has 32 bits here as in the guest, in a word of its own.
    let tablePages = (available + Self.wordsPerPage) / (Self.wordsPerPage + 1)
    firstPageWord = tableWord + tablePages * Self.wordsPerPage
    let limit = settings.memoryMegabytes * Self.pagesPerMebibyte
    let room = max(0, available - tablePages)
    let pageCount = limit > 0 ? min(limit, room) : room
    checksPerSecond =
      settings.checkedMegabytesPerSecond.map { UInt64($0 * Self.pagesPerMebibyte) }
      ?? UInt64(pageCount / 8 + 1)
    let stored = SyntheticState(in: memory)
    state = stored.flatMap { $0.pageCount == pageCount ? $0 : nil } ?? SyntheticState()
    state.pageCount = pageCount
    state.filledCount = min(state.filledCount, pageCount)
    keptCount = max(1, pageCount - pageCount * min(max(settings.freePercent, 0), 100) / 100)
    state.usedCount = min(max(state.usedCount, keptCount), pageCount)
    state.writeCursor %= max(pageCount, 1)
    state.checkCursor %= max(pageCount, 1)
  }

  /// Leaves the state where a later workload finds it.
  func store() {
    state.store(in: memory)
  }

  /// Does a little of what is due.
  ///
  /// - Parameters:
  ///   - now: the host's clock in nanoseconds.
  ///   - say: takes what the guest would say on its serial port.
  mutating func turn(at now: UInt64, say: (String) -> Void) -> Turn {
    guard state.pageCount > 0 else { return .idle }
    guard state.filledCount == state.pageCount else {
      fill(at: now, say: say)
      return .busy
    }
    count(until: now)
    for _ in 0..<state.writes.take(atMost: Self.pagesPerTurn) { writeNext() }
    for _ in 0..<state.checks.take(atMost: Self.pagesPerTurn) { checkNext() }
    for _ in 0..<state.reuses.take(atMost: Self.pagesPerTurn) { reuseNext() }
    if state.sinceReport >= UInt64(max(settings.reportMilliseconds, 1)) { report(say) }
    return state.writes.due == 0 && state.checks.due == 0 && state.reuses.due == 0
      ? .idle : .busy
  }

  // Filling

  private mutating func fill(at now: UInt64, say: (String) -> Void) {
    if state.filledCount == 0 {
      say("guest machine=synthetic ticks_per_ms=1000000\n")
    }
    let end = min(state.filledCount + Int(Self.pagesPerTurn), state.pageCount)
    for page in state.filledCount..<end {
      memory[tableWord + page] = 0
      if settings.isFilled { fillPage(page) }
      write(page)
    }
    state.filledCount = end
    guard end == state.pageCount else { return }
    (state.lastMillisecond, state.lastTurn) = (now, now)
    state.usedCount = state.pageCount
    if keptCount < state.pageCount { freePages() }
    say("guest pages=\(state.pageCount)\n\(DemoGuestReport.readyLine)\n")
  }

  // Time

  private mutating func count(until now: UInt64) {
    // The clock of another host, or of this one after it was started anew, begins elsewhere.
    if now < max(state.lastTurn, state.lastMillisecond) {
      (state.lastMillisecond, state.lastTurn) = (now, now)
    }
    state.longestGap = max(state.longestGap, now - state.lastTurn)
    state.lastTurn = now
    let passed = (now - state.lastMillisecond) / 1_000_000
    state.lastMillisecond += passed * 1_000_000
    state.milliseconds &+= passed
    state.sinceReport &+= passed
    let writesPerSecond = UInt64(settings.megabytesPerSecond * Self.pagesPerMebibyte)
    let reusesPerSecond =
      keptCount < state.pageCount
      ? UInt64(settings.reusedMegabytesPerSecond * Self.pagesPerMebibyte) : 0
    for _ in 0..<min(passed, 1000) {
      state.reuses.accrue(perSecond: reusesPerSecond)
      state.writes.accrue(perSecond: writesPerSecond)
      state.checks.accrue(perSecond: checksPerSecond)
    }
  }

  private mutating func report(_ say: (String) -> Void) {
    func tenths(_ value: UInt64) -> String { "\(value / 10).\(value % 10)" }
    say(
      "mem t=\(tenths(state.milliseconds / 100)) written=\(state.writtenCount) "
        + "checked=\(state.checkedCount) bad=\(state.badCount) "
        + "gap=\(tenths(state.longestGap / 100_000))\n")
    state.sinceReport = 0
    state.longestGap = 0
  }

  // Pages

  private mutating func writeNext() {
    var page = state.writeCursor
    if settings.isRandom {
      page = Int(((nextRandom() >> 32) * UInt64(state.usedCount)) >> 32)
    } else {
      if page >= state.usedCount { page = 0 }
      state.writeCursor = (page + 1) % state.usedCount
    }
    write(page)
    state.writtenCount &+= 1
  }

  private mutating func checkNext() {
    if state.checkCursor >= state.usedCount { state.checkCursor = 0 }
    if !isWhole(state.checkCursor) { state.badCount &+= 1 }
    state.checkCursor += 1
    state.checkedCount &+= 1
  }

  /// Declares all pages free that are not always in use.
  private mutating func freePages() {
    state.usedCount = keptCount
    let size = SyntheticMemory.pageByteCount
    let first = firstPageWord * SyntheticMemory.wordByteCount
    tellFree(first + keptCount * size..<first + state.pageCount * size)
  }

  /// Fills the next free page anew, which nobody is told; behind the last one all are free again.
  private mutating func reuseNext() {
    guard state.usedCount < state.pageCount else { return freePages() }
    if settings.isFilled {
      fillPage(state.usedCount)
    } else {
      memory[firstPageWord + state.usedCount * Self.wordsPerPage + Self.wordsPerPage / 2] = 0
    }
    write(state.usedCount)
    state.usedCount += 1
  }

  /// Gives a page its next generation, at both ends, and changes a word between.
  private mutating func write(_ page: Int) {
    let first = firstPageWord + page * Self.wordsPerPage
    let generation = UInt32(truncatingIfNeeded: memory[tableWord + page]) &+ 1
    memory[tableWord + page] = UInt64(generation)
    let stamp = Self.stamp(page, generation)
    memory[first] = stamp
    memory[first + Self.wordsPerPage - 1] = stamp
    let somewhere = 1 + Int(nextRandom() >> 33) % (Self.wordsPerPage - 2)
    // The middle word belongs to the filler for ever: it shows a page that lost its inside.
    if settings.isFilled, somewhere != Self.wordsPerPage / 2 {
      memory[first + somewhere] = nextRandom()
    }
    memory.noteWritten(pageAt: first)
    memory.noteWritten(pageAt: (tableWord + page) & ~(Self.wordsPerPage - 1))
  }

  private func isWhole(_ page: Int) -> Bool {
    let first = firstPageWord + page * Self.wordsPerPage
    let stamp = Self.stamp(page, UInt32(truncatingIfNeeded: memory[tableWord + page]))
    guard memory[first] == stamp, memory[first + Self.wordsPerPage - 1] == stamp else {
      return false
    }
    let middle = memory[first + Self.wordsPerPage / 2]
    guard settings.isFilled else { return middle == 0 }
    let (start, step) = Self.filler(page)
    return middle == start &+ step &* UInt64(Self.wordsPerPage / 2)
  }

  private func fillPage(_ page: Int) {
    let first = firstPageWord + page * Self.wordsPerPage
    let (start, step) = Self.filler(page)
    var word = start
    for index in 0..<Self.wordsPerPage {
      memory[first + index] = word
      word &+= step
    }
  }

  private mutating func nextRandom() -> UInt64 {
    state.random ^= state.random << 13
    state.random ^= state.random >> 7
    state.random ^= state.random << 17
    return state.random
  }

  /// What a page of a generation begins and ends with.
  private static func stamp(_ page: Int, _ generation: UInt32) -> UInt64 {
    (UInt64(page) &+ 1) &* 0x9E37_79B9_7F4A_7C15
      ^ UInt64(generation) &* 0xC2B2_AE3D_27D4_EB4F
  }

  /// The first word of a page's incompressible filler, and the step from each to the next.
  private static func filler(_ page: Int) -> (start: UInt64, step: UInt64) {
    let seed = (UInt64(page) &+ 0x51ED_2701) &* 0xFF51_AFD7_ED55_8CCD
    let start = (seed ^ seed >> 29) &* 0xC4CE_B9FE_1A85_EC53
    return (start, start &* 0x9FB2_1C65_1E98_DF25 | 0x4000_0000_4000_0001)
  }
}
