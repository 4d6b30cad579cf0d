// Many threads at once: nobody waits for growth, and no write is lost or counted twice.

import Synchronization
import Testing

@testable import GuestMemory

/// What the threads of a test share.
final class Shared: Sendable {
  let isDone = Atomic(false)
  let failures = Atomic(0)
  let reads = Atomic(0)
  let counts = Mutex<[Int: Int]>([:])

  var hasEnded: Bool { isDone.load(ordering: .acquiring) }
  func end() { isDone.store(true, ordering: .releasing) }
  func fail() { failures.add(1, ordering: .relaxed) }
  var failureCount: Int { failures.load(ordering: .relaxed) }
}

@Suite(.timeLimit(.minutes(2))) struct ConcurrencyTests {
  @Test func `bitmaps grow while others read and mark`() throws {
    let ram = RAMList()
    ram.dirty.setEnabled(.migration, true)
    let first = try ram.add(name: "first", byteCount: 1 << 20)
    let shared = Shared()
    onThreads(3) { thread in
      if thread == 0 {
        // Each block is as large as a piece, so each makes the bitmaps grow.
        for index in 0..<40 {
          let size = DirtyPiece.pageCount * RAMRange.pageSize
          let block = try? ram.add(name: "block \(index)", byteCount: size)
          if let block { ram.dirty.mark(RAMRange(covering: block.ramOffset, byteCount: 4096)) }
        }
        shared.end()
        return
      }
      let page = RAMRange(pages: thread..<thread + 1)
      while !shared.hasEnded {
        ram.dirty.mark(page)
        if !ram.dirty.isDirty(page, for: .migration) { shared.fail() }
        if ram.dirty.clear(page, for: .migration) != 1 { shared.fail() }
      }
    }
    #expect(shared.failureCount == 0)
    #expect(ram.blocks.count == 41)
    for block in ram.blocks where block !== first {
      #expect(ram.dirty.dirtyPageCount(block.ramRange, for: .migration) == 1)
    }
  }

  @Test func `of writes during harvests and merges none is lost and none is made up`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: 512 << 20)
    ram.dirty.setEnabled(.migration, true)
    let pageCount = block.pageCount
    let markers = 2
    let shared = Shared()
    onThreads(markers + 1) { thread in
      guard thread == markers else {
        // Each marks every page of its own once: the even ones, in turns, so that the markers meet
        // each other and the harvester in every word. A mark that is lost is lost for good.
        for page in stride(from: thread * 2, to: pageCount, by: markers * 2) {
          ram.dirty.mark(RAMRange(pages: page..<page + 1))
        }
        if shared.reads.add(1, ordering: .acquiringAndReleasing).newValue == markers {
          shared.end()
        }
        return
      }
      var counts: [Int: Int] = [:]
      // The slot's bitmap names pages that nobody else marks: the odd ones of the upper half.
      let words = [UInt64](repeating: 0xAAAA_AAAA_AAAA_AAAA, count: pageCount / 128)
      let place = block.ramOffset.advanced(by: block.byteCount / 2)
      ram.dirty.merge(words.span, at: place, pageCount: pageCount / 2, for: .migration)
      while !shared.hasEnded { Self.harvest(block, &counts, shared) }
      shared.counts.withLock { [counts] in $0 = counts }
    }
    var counts = shared.counts.withLock { $0 }
    Self.harvest(block, &counts, shared)
    #expect(shared.failureCount == 0, "counts were not exact")
    #expect(ram.dirty.dirtyPageCount(block.ramRange, for: .migration) == 0)
    let wrong = (0..<pageCount).filter { page in
      let isMarked = page % 2 == 0 || page >= pageCount / 2
      return counts[page] ?? 0 != (isMarked ? 1 : 0)
    }
    #expect(wrong.isEmpty, "\(wrong.count) pages, the first of them \(wrong.first ?? 0)")
  }

  private static func harvest(
    _ block: RAMBlock, _ counts: inout [Int: Int], _ shared: Shared
  ) {
    var words = [UInt64](repeating: 0, count: block.pageCount / 64)
    var span = words.mutableSpan
    let harvest = block.dirty.harvestAndClear(
      block.ramRange, for: .migration, into: &span)
    var found = 0
    for (index, word) in words.enumerated() where word != 0 {
      var rest = word
      while rest != 0 {
        counts[index * 64 + rest.trailingZeroBitCount, default: 0] += 1
        rest &= rest - 1
        found += 1
      }
    }
    if harvest != Harvest(pageCount: found, addedCount: found) { shared.fail() }
  }

  @Test func `a mark that is set while marks are folded stays`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: 16 << 20)
    ram.dirty.setEnabled(.migration, true)
    for round in 0..<300 {
      let shared = Shared()
      onThreads(3) { thread in
        guard thread == 2 else {
          for page in stride(from: thread, to: block.pageCount, by: 2) {
            ram.dirty.mark(RAMRange(pages: page..<page + 1))
          }
          if shared.reads.add(1, ordering: .acquiringAndReleasing).newValue == 2 { shared.end() }
          return
        }
        // Asking folds the marks of the whole chunk, again and again.
        let last = RAMRange(pages: block.pageCount - 1..<block.pageCount)
        while !shared.hasEnded { _ = ram.dirty.isDirty(last, for: .migration) }
      }
      let found = ram.dirty.clear(block.ramRange, for: .migration)
      #expect(found == block.pageCount, "round \(round)")
    }
  }

  @Test func `a page marked after its write is never harvested before it`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: 4096)
    ram.dirty.setEnabled(.migration, true)
    let last = 200_000
    let shared = Shared()
    onThreads(2) { thread in
      if thread == 0 {
        for value in 1...last { block.storeWord(offset: 0, byteCount: 8, value: UInt64(value)) }
        shared.end()
        return
      }
      // Copies the page only when it is dirty, as a migration does.
      var seen: UInt64 = 0
      while true {
        let isLast = shared.hasEnded
        if ram.dirty.clear(block.ramRange, for: .migration) > 0 {
          seen = block.loadWord(offset: 0, byteCount: 8)
        }
        if isLast { break }
      }
      shared.counts.withLock { [seen] in $0[0] = Int(seen) }
    }
    #expect(shared.counts.withLock { $0[0] } == last)
  }

  @Test func `a view is whole for whoever reads it while it is replaced`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: 8192)
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 20)
    let space = AddressSpace(name: "memory", root: root, ram: ram)
    let low = MemoryRegion.ram(name: "low", block: block, offset: 0, byteCount: 4096)
    let high = MemoryRegion.ram(name: "high", block: block, offset: 4096, byteCount: 4096)
    try space.transaction {
      root.addSubregion(low, at: 0)
      root.addSubregion(high, at: 4096)
    }
    let shared = Shared()
    onThreads(4) { thread in
      if thread == 0 {
        // Both are there or neither is.
        for _ in 0..<3000 {
          try? space.transaction {
            low.isEnabled.toggle()
            high.isEnabled.toggle()
          }
        }
        shared.end()
        return
      }
      while !shared.hasEnded {
        let view = space.view
        if view.ranges.count == 1 || view.ranges.count > 2 { shared.fail() }
        shared.reads.add(1, ordering: .relaxed)
      }
    }
    #expect(shared.failureCount == 0)
    #expect(shared.reads.load(ordering: .relaxed) > 0)
  }

  @Test func `a replaced value goes when its last reader does`() {
    final class Value: Sendable {
      let count: Mutex<Int>
      init() { count = Mutex(0) }
    }
    weak var old: Value?
    let cell: SnapshotCell<Value>
    do {
      let value = Value()
      old = value
      cell = SnapshotCell(value)
    }
    var held: Value? = cell.value
    cell.replace(by: Value())
    #expect(old != nil && held === old)
    held = nil
    #expect(old == nil)
  }
}
