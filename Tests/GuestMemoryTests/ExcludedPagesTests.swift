// What need not travel does not, and what was written after all does: in every order of what a
// guest, its log and its move can do.

import Synchronization
import Testing

@testable import GuestMemory

@Suite struct ExcludedPagesTests {
  @Test(arguments: 0..<40)
  func `a sparse set holds what a set of integers holds`(seed: Int) {
    var generator = SeededGenerator(seed: seed)
    var set = SparsePageSet()
    var model: Set<Int> = []
    let chunk = SparsePageSet.wordsPerChunk * 64
    for _ in 0..<120 {
      let first =
        Int.random(in: 0..<6, using: &generator) * chunk / 2
        + Int.random(in: -150...150, using: &generator)
      let start = max(0, first)
      let pages = start..<start + Int.random(in: 1...300, using: &generator)
      switch Int.random(in: 0..<5, using: &generator) {
      case 0, 1:
        #expect(set.insert(pages) == Set(pages).subtracting(model).count)
        model.formUnion(pages)
      case 2:
        #expect(set.remove(pages) == model.intersection(pages).count)
        model.subtract(pages)
      case 3:
        let (count, isIn) = set.uniformPrefix(of: pages)
        #expect(isIn == model.contains(pages.lowerBound))
        #expect(count == pages.prefix { model.contains($0) == isIn }.count)
      default:
        var found: [Int] = []
        set.forEachRun(in: pages) { found += $0 }
        #expect(found == model.intersection(pages).sorted())
      }
      #expect(set.pageCount == model.count)
    }
  }

  @Test func `what is declared before a move never travels, what was written since does`()
    throws
  {
    let guest = try FollowedGuest(.clear, pageCount: 200)
    for page in 0..<200 { guest.write(page) }
    #expect(guest.declare(50..<150))
    #expect(guest.content(60) == 0, "it is emptied at once")
    guest.write(70)
    guest.begin()
    #expect(guest.round.excludedPageCount == 99)
    #expect(guest.round.remainingPageCount == 101)
    while guest.send(limit: 7) {}
    #expect(guest.sentPageCount == 101)
    guest.finish()
    #expect(guest.sentPageCount == 101)
    #expect(guest.wrongPages.isEmpty)
    #expect(guest.other[70] != 0)
  }

  @Test(arguments: ModelLog.Kind.allCases)
  func `a page that was sent before it was declared becomes zeros there`(
    kind: ModelLog.Kind
  ) throws {
    let guest = try FollowedGuest(kind, pageCount: 100)
    for page in 0..<100 { guest.write(page) }
    guest.begin()
    while guest.send(limit: 10) {}
    #expect(guest.other[20] != 0)
    guest.hint(10..<30)
    guest.sync()
    #expect(guest.round.remainingPageCount == 20)
    let run = guest.round.nextRun(limit: 64)
    #expect(run?.pages == 10..<30 && run?.content == .zeros)
    #expect(guest.round.excludedPageCount == 20)
    #expect(!guest.send(limit: 64))
    #expect(guest.round.excludedRuns().map(\.pages) == [10..<30])
    // Written after all, it counts again.
    guest.write(15)
    guest.sync()
    #expect(guest.round.excludedPageCount == 19)
    let again = guest.round.nextRun(limit: 64)
    #expect(again?.pages == 15..<16 && again?.content == .memory)
  }

  @Test func `a machine all of which is excluded has nothing to send, and ends its round`() throws {
    let guest = try FollowedGuest(.bitmap, pageCount: 130)
    for page in 0..<130 { guest.write(page) }
    guest.declare(0..<130)
    guest.begin()
    #expect(guest.round.remainingPageCount == 0)
    #expect(!guest.send(limit: 1))
    let found = guest.round.harvest()
    #expect(found == Harvest())
    guest.finish()
    #expect(guest.sentPageCount == 0 && guest.wrongPages.isEmpty)
  }

  @Test func `what is taken back counts as it is`() throws {
    let guest = try FollowedGuest(.writeProtect, pageCount: 100)
    for page in 0..<100 { guest.write(page) }
    guest.begin()
    while guest.send(limit: 10) {}
    // The other side has the old content, this one zeros.
    guest.declare(0..<50)
    guest.takeBack(0..<50)
    guest.finish()
    #expect(guest.other[..<50].allSatisfy { $0 == 0 })
    #expect(guest.wrongPages.isEmpty)
    #expect(guest.excluded.declaredPageCount == 0)
  }

  @Test func `a word that cannot be taken is refused, and nothing is lost`() throws {
    let guest = try FollowedGuest(.bitmap, pageCount: 64)
    for page in 0..<64 { guest.write(page) }
    #expect(!guest.excluded.hint(guest.range(0..<64)), "there is no move")
    guest.excluded.allowEmptying(false)
    #expect(!guest.declare(0..<64))
    #expect(guest.content(5) != 0)
    guest.excluded.allowEmptying(true)
    #expect(
      guest.excluded.declare(guest.block, offset: 100, byteCount: 4000),
      "less than a page is nobody's")
    #expect(guest.content(0) != 0 && guest.excluded.declaredPageCount == 0)
    guest.begin()
    guest.finish()
    #expect(guest.sentPageCount == 64 && guest.wrongPages.isEmpty)
  }

  // MARK: Any order

  @Test(arguments: ModelLog.Kind.allCases, 0..<150)
  func `in whatever order things happen, no write is lost and what is free is zeros`(
    kind: ModelLog.Kind, seed: Int
  ) throws {
    #expect(try Self.play(kind, seed: seed) == [])
  }

  @Test func `a word taken before the log is armed loses writes, which a seed shows`() throws {
    let isFound = try (0..<150).contains { seed in
      try !Self.play(.clear, seed: seed, withFault: true).isEmpty
    }
    #expect(isFound)
  }

  /// Lets a guest, its log and its move do what a seed says; the pages that come out wrong.
  private static func play(
    _ kind: ModelLog.Kind, seed: Int, withFault: Bool = false
  ) throws -> [Int] {
    // Neighbouring seeds give the same numbers, shifted by one.
    var generator = SeededGenerator(seed: seed * 100_003)
    let guest = try FollowedGuest(kind, pageCount: 96)
    var last = 0
    func act() {
      let first = Int.random(in: 0..<96, using: &generator)
      let some = first..<Int.random(in: first + 1...min(first + 6, 96), using: &generator)
      switch Int.random(in: 0..<10, using: &generator) {
      // Pages about which something was just said are the ones at which orders matter.
      case 0...3:
        guest.write(generator.chance(50) ? last : first, byDevice: generator.chance(20))
      case 4, 5:
        guest.declare(some)
        last = first
      case 6, 7:
        guest.log.isDeaf = withFault
        guest.hint(some)
        guest.log.isDeaf = false
        last = first
      case 8: guest.takeBack(some)
      default: guest.log.reap()
      }
    }
    // Twice: what the first move leaves behind is there for the second.
    for _ in 0..<2 {
      for page in 0..<96 where generator.chance(60) { guest.write(page) }
      for _ in 0..<Int.random(in: 0...20, using: &generator) { act() }
      if kind != .writeProtect { guest.ram.dirty.setEnabled(.migration, true) }
      guest.other = [UInt64](repeating: 0, count: 96)
      guest.begin()
      for _ in 0..<25 {
        act()
        if generator.chance(40) {
          let acts = Int.random(in: 0..<3, using: &generator)
          guest.send(limit: Int.random(in: 1...40, using: &generator)) {
            for _ in 0..<acts { act() }
          }
        }
        if generator.chance(10) { guest.sync() }
        // A log is read before its pages are harvested, and the guest goes on between.
        if generator.chance(10) {
          guest.log.sync()
          act()
          guest.round.harvest()
        }
      }
      guest.finish()
      if !guest.wrongPages.isEmpty { return guest.wrongPages }
      guest.ram.dirty.setEnabled(.migration, false)
      // A hint is over with its move: the pages are the guest's again, as they are.
      for page in 0..<96 where guest.content(page) != 0 { guest.pages[page] = .counts }
    }
    return []
  }

  // MARK: At the same time

  /// A log of writers that mark what they write, as devices do.
  private final class MarkedLog: DirtyLog {
    let name = "marked"
    let reason = "it is a test"
    func start() {}
    func sync() -> Int { 0 }
    func willSend(_ range: RAMRange) {}
    func stop() {}
  }

  @Test(.timeLimit(.minutes(1)))
  func `processors declare and take back while a move harvests`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "pc.ram", byteCount: 512 * 4096)
    let excluded = ExcludedPages(of: ram)
    ram.dirty.setEnabled(.migration, true)
    let shared = Shared()
    let other = Mutex([UInt64](repeating: 0, count: 512))
    let free = Mutex<Set<Int>>([])
    onThreads(3) { thread in
      if thread == 2 {
        var round = MigrationRound(firstOf: ram, excluding: excluded, following: MarkedLog())
        func sendRound() {
          while let run = round.nextRun(limit: 16) {
            for page in run.pages {
              let value =
                run.content == .zeros ? 0 : block.loadWord(offset: page * 4096, byteCount: 8)
              other.withLock { $0[page] = value }
            }
          }
          round.harvest()
        }
        while shared.reads.load(ordering: .acquiring) < 2 { sendRound() }
        // Once more for what the last harvest has found, now that all others stand.
        sendRound()
        sendRound()
        excluded.endMove()
        return
      }
      var generator = SeededGenerator(seed: 77 + thread * 1_000_003)
      var mine: Set<Int> = []
      for version in 1...20_000 {
        // Neighbours of the other thread's pages: the same words of every bitmap.
        let page = Int.random(in: 0..<256, using: &generator) * 2 + thread
        let range = block.ramRange(offset: page * 4096, byteCount: 4096)
        switch Int.random(in: 0..<8, using: &generator) {
        case 0...4:
          block.storeWord(offset: page * 4096, byteCount: 8, value: UInt64(version))
          mine.remove(page)
        case 5: if excluded.hint(range) { mine.insert(page) }
        case 6:
          if excluded.declare(block, offset: page * 4096, byteCount: 4096) { mine.insert(page) }
        default:
          excluded.takeBack(range)
          mine.remove(page)
        }
      }
      free.withLock { $0.formUnion(mine) }
      shared.reads.add(1, ordering: .releasing)
    }
    let found = other.withLock { $0 }
    let unneeded = free.withLock { $0 }
    for page in 0..<512 {
      let here = block.loadWord(offset: page * 4096, byteCount: 8)
      #expect(found[page] == here || (unneeded.contains(page) && found[page] == 0), "\(page)")
    }
  }
}
