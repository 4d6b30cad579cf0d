// Merges and harvests against sets of page numbers.

import Testing

@testable import GuestMemory

struct MergeTests {
  /// A RAM address space with a piece boundary inside its one block.
  static let pieceEnd = DirtyPiece.pageCount
  static let byteCount = (DirtyPiece.pageCount + 4096) * RAMRange.pageSize

  /// A bitmap of which runs, single pages, whole words and nothing are parts.
  static func randomPages(_ count: Int, using generator: inout SeededGenerator) -> Set<Int> {
    var pages: Set<Int> = []
    for _ in 0..<Int.random(in: 0...12, using: &generator) {
      let start = Int.random(in: 0..<count, using: &generator)
      let length = [1, 1, 2, 63, 64, 65, 200, 700].randomElement(using: &generator) ?? 1
      pages.formUnion(start..<min(start + length, count))
    }
    return pages
  }

  static func words(_ pages: Set<Int>, pageCount: Int) -> [UInt64] {
    var words = [UInt64](repeating: 0, count: (pageCount + 63) / 64)
    for page in pages { words[page / 64] |= 1 << UInt64(page % 64) }
    return words
  }

  static func pages(_ words: [UInt64]) -> Set<Int> {
    Set((0..<words.count * 64).filter { words[$0 / 64] >> UInt64($0 % 64) & 1 == 1 })
  }

  @Test(arguments: 0..<150)
  func `merges and harvests keep what sets of pages keep`(seed: Int) throws {
    var generator = SeededGenerator(seed: seed)
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: Self.byteCount)
    ram.dirty.setEnabled(.migration, true)
    var model: Set<Int> = []
    for _ in 0..<12 {
      // Around the piece boundary, or at the beginning; aligned to a word, or not.
      let base = generator.chance(50) ? 0 : Self.pieceEnd - 2048
      let count = Int.random(in: 1...5000, using: &generator)
      var start = base + Int.random(in: 0..<1000, using: &generator)
      if generator.chance(40) { start &= ~63 }
      let room = min(count, block.pageCount - start)
      let place = RAMAddress(UInt64(start * RAMRange.pageSize))
      switch Int.random(in: 0..<10, using: &generator) {
      case 0...3:
        let pages = Self.randomPages(room, using: &generator)
        var words = Self.words(pages, pageCount: room)
        // What lies behind the slot's last page is nobody's.
        if room % 64 != 0 { words[words.count - 1] |= ~0 << UInt64(room % 64) }
        let moved = Set(pages.map { $0 + start })
        let added = ram.dirty.merge(words.span, at: place, pageCount: room, for: .migration)
        #expect(added == moved.subtracting(model).count)
        model.formUnion(moved)
      case 4:
        let pagesPerBit = [2, 4, 16, 64, 512].randomElement(using: &generator) ?? 2
        let bits = (room + pagesPerBit - 1) / pagesPerBit
        let set = Self.randomPages(bits, using: &generator)
        let moved = Set(
          set.flatMap { $0 * pagesPerBit..<min(($0 + 1) * pagesPerBit, room) }.map { $0 + start })
        let added = ram.dirty.merge(
          Self.words(set, pageCount: bits).span, at: place, pageCount: room,
          pagesPerBit: pagesPerBit, for: .migration)
        #expect(added == moved.subtracting(model).count)
        model.formUnion(moved)
      case 5:
        let end = start + min(room, 300)
        ram.dirty.mark(RAMRange(pages: start..<end))
        model.formUnion(start..<end)
      case 6:
        let range = start..<start + room
        #expect(
          ram.dirty.clear(RAMRange(pages: range), for: .migration)
            == model.intersection(range).count)
        model.subtract(range)
      case 7:
        let range = start..<start + room
        #expect(
          ram.dirty.setAll(RAMRange(pages: range), for: .migration)
            == room - model.intersection(range).count)
        model.formUnion(range)
      default:
        harvest(start..<start + room, of: ram.dirty, &model, &generator)
      }
      #expect(ram.dirty.dirtyPageCount(block.ramRange, for: .migration) == model.count)
      let probe = start..<start + 1
      #expect(
        ram.dirty.isDirty(RAMRange(pages: probe), for: .migration) == model.contains(start))
    }
    #expect(ram.dirty.dirtyPageCount(block.ramRange, for: .display) == 0)
  }

  private func harvest(
    _ range: Range<Int>, of dirty: DirtyMemory, _ model: inout Set<Int>,
    _ generator: inout SeededGenerator
  ) {
    let known = Self.randomPages(range.count, using: &generator)
    var output = Self.words(known, pageCount: range.count)
    var span = output.mutableSpan
    let harvest = dirty.harvestAndClear(
      RAMRange(pages: range), for: .migration, into: &span)
    let found = Set(model.intersection(range).map { $0 - range.lowerBound })
    #expect(harvest.pageCount == found.count)
    #expect(harvest.addedCount == found.subtracting(known).count)
    #expect(Self.pages(output) == known.union(found))
    model.subtract(range)
  }

  @Test func `a slot of whole words is merged across the boundary of pieces`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: Self.byteCount)
    let all = [UInt64](repeating: .max, count: block.pageCount / 64)
    for start in [0, 1, 63] {
      let count = block.pageCount - start
      let place = RAMAddress(UInt64(start * RAMRange.pageSize))
      #expect(
        ram.dirty.merge(all.span, at: place, pageCount: count, for: .migration) == count)
      var output = [UInt64](repeating: 0, count: block.pageCount / 64)
      var span = output.mutableSpan
      let harvest = ram.dirty.harvestAndClear(
        block.ramRange, for: .migration, into: &span)
      #expect(harvest == Harvest(pageCount: count, addedCount: count))
    }
  }

  @Test(arguments: [0, 1, 13, 63])
  func `a single page is found wherever in its slot it is`(start: Int) throws {
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: 20_000 * RAMRange.pageSize)
    let pageCount = 3 * 64 * 64 + 5
    let place = RAMAddress(UInt64(start * RAMRange.pageSize))
    // Around the edges of words and of the chunks of 64 words that are skipped where they are zero.
    let edges = [0, 64, 4096 - 64, 4096, 8192, 12288 - 64, pageCount - 5]
    let pages = Set(edges.flatMap { $0 - 2...$0 + 4 }).union((1...70).map { 4096 + $0 })
    for page in pages where page >= 0 && page < pageCount {
      let words = Self.words([page], pageCount: pageCount)
      #expect(
        ram.dirty.merge(words.span, at: place, pageCount: pageCount, for: .migration) == 1)
      let found = RAMRange(pages: start + page..<start + page + 1)
      #expect(ram.dirty.clear(found, for: .migration) == 1, "page \(page) from \(start) on")
    }
    #expect(ram.dirty.dirtyPageCount(block.ramRange, for: .migration) == 0)
  }

  /// Pages of chunks of 64 words that were full and are taken out whole, then come back in part.
  @Test(arguments: 0..<5)
  func `what was taken out of a chunk does not come back with its neighbours`(way: Int) throws {
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: 4 * 4096 * RAMRange.pageSize)
    let dirty = ram.dirty
    dirty.setEnabled(.migration, true)
    dirty.setAll(block.ramRange, for: .migration)
    #expect(dirty.clear(block.ramRange, for: .migration) == block.pageCount)
    let pages: Range<Int>
    switch way {
    case 0:
      pages = 4100..<4101
      dirty.mark(RAMRange(pages: pages))
    case 1:
      pages = 8000..<8400
      dirty.setAll(RAMRange(pages: pages), for: .migration)
    case 2:
      pages = 64..<4096
      let words = [UInt64](repeating: .max, count: pages.count / 64)
      dirty.merge(words.span, at: RAMAddress(64 << 12), pageCount: pages.count, for: .migration)
    case 3:
      pages = 4096 + 7..<4096 + 12
      let words: [UInt64] = [0b11111]
      dirty.merge(words.span, at: RAMAddress((4096 + 7) << 12), pageCount: 5, for: .migration)
    default:
      // From the middle of a word on, over a whole chunk.
      pages = 5..<5 + 8192
      let words = [UInt64](repeating: .max, count: 128)
      dirty.merge(words.span, at: RAMAddress(5 << 12), pageCount: 8192, for: .migration)
    }
    #expect(dirty.dirtyPageCount(block.ramRange, for: .migration) == pages.count)
    var output = [UInt64](repeating: 0, count: block.pageCount / 64)
    var span = output.mutableSpan
    let harvest = dirty.harvestAndClear(block.ramRange, for: .migration, into: &span)
    #expect(harvest == Harvest(pageCount: pages.count, addedCount: pages.count))
    #expect(Self.pages(output) == Set(pages))
  }

  @Test func `what lies before and behind a large range is not counted with it`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: Self.byteCount)
    let dirty = ram.dirty
    dirty.setAll(block.ramRange, for: .migration)
    let edge = 4096 + 77
    let middle = RAMRange(pages: edge..<Self.pieceEnd - edge)
    var output = [UInt64](repeating: 0, count: middle.pageCount / 64 + 1)
    output[9] = 0b101
    var span = output.mutableSpan
    let harvest = dirty.harvestAndClear(middle, for: .migration, into: &span)
    #expect(
      harvest == Harvest(pageCount: middle.pageCount, addedCount: middle.pageCount - 2))
    #expect(
      dirty.dirtyPageCount(block.ramRange, for: .migration)
        == block.pageCount - middle.pageCount)
    #expect(dirty.clear(RAMRange(pages: 1..<Self.pieceEnd), for: .migration) == 2 * edge - 1)
    #expect(dirty.clear(block.ramRange, for: .migration) == 1 + 4096)
  }

  @Test func `clients do not see each other's pages`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: 1 << 20)
    ram.dirty.setEnabled([.migration, .display], true)
    ram.dirty.mark(RAMRange(pages: 3..<5))
    #expect(ram.dirty.clear(block.ramRange, for: .display) == 2)
    #expect(ram.dirty.dirtyPageCount(block.ramRange, for: .migration) == 2)
    #expect(ram.dirty.dirtyPageCount(block.ramRange, for: .code) == 0, "nobody asked for it")
  }

  @Test func `pages that belong to no block are passed over`() throws {
    let dirty = RAMList().dirty
    dirty.setEnabled(.all, true)
    let beyond = RAMRange(pages: 0..<100)
    dirty.mark(beyond)
    #expect(dirty.dirtyPageCount(beyond, for: .migration) == 0)
    let last = RAMRange(pages: (RAMLayout.byteLimit >> 12) - 1..<(RAMLayout.byteLimit >> 12) + 9)
    dirty.mark(last)
    #expect(dirty.clear(last, for: .migration) == 0)
  }
}
