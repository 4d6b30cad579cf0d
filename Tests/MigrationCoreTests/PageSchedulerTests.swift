// Which page goes next, whoever asks for what and when.

import MigrationCore
import Testing
import Wire

@Suite struct `Scheduling of pages` {
  private func address(_ block: Int, _ page: Int, size: Int = 4096) -> RAMPageAddress {
    RAMPageAddress(blockIndex: block, offset: UInt64(page * size))
  }

  private func block(pages: Int, size: Int = 4096) -> ScheduledBlock {
    ScheduledBlock(usedLength: UInt64(pages * size), pageSize: size)
  }

  @Test(arguments: 0..<30)
  func `every page comes exactly once, whatever is asked for`(round: Int) {
    var generator = SystemRandomNumberGenerator()
    let blocks = [
      block(pages: .random(in: 1...200)), block(pages: .random(in: 1...20), size: 8192),
      block(pages: 3),
    ]
    let omitted: Set<Int> = round % 3 == 0 ? [2] : []
    func anyPage() -> RAMPageAddress {
      let index = Int.random(in: 0..<3)
      return RAMPageAddress(
        blockIndex: index, offset: .random(in: 0..<blocks[index].usedLength, using: &generator))
    }
    var scheduler = PageScheduler(
      blocks: blocks, omittedBlocks: omitted, demandOrder: (0..<20).map { _ in anyPage() })
    var seen: Set<RAMPageAddress> = []
    while true {
      if Int.random(in: 0..<4) == 0 { _ = scheduler.request(anyPage()) }
      let taken =
        Int.random(in: 0..<5) == 0
        ? scheduler.nextRequested() : scheduler.next { $0.offset % 5 == 0 }
      guard let page = taken else {
        if scheduler.remainingCount == 0 { break }
        continue
      }
      #expect(seen.insert(page.address).inserted)
      #expect(page.address.offset % UInt64(blocks[page.address.blockIndex].pageSize) == 0)
      #expect(page.byteCount == blocks[page.address.blockIndex].pageSize)
    }
    let expected = blocks.indices.filter { !omitted.contains($0) }
      .reduce(0) { $0 + blocks[$1].pageCount }
    #expect(seen.count == expected)
    #expect(scheduler.remainingByteCount == 0)
  }

  @Test func `the order of need`() {
    var scheduler = PageScheduler(
      blocks: [block(pages: 400)], demandOrder: [address(0, 50), address(0, 7), address(0, 50)])
    #expect(scheduler.request(address(0, 300)) == .queued)
    #expect(scheduler.request(address(0, 300)) == .duplicate)
    #expect(scheduler.request(address(0, 200)) == .queued)
    #expect(scheduler.hasRequests)
    let first = (0..<5).compactMap { _ in scheduler.next() }
    #expect(first.map(\.address.offset) == [300, 200, 50, 7, 51].map { $0 * 4096 })
    #expect(
      first.map(\.priority) == [.requested, .requested, .remembered, .remembered, .neighbour])
    #expect(scheduler.request(address(0, 200)) == .alreadySent)
    let rest = (0..<200).compactMap { _ in scheduler.next()?.priority }
    #expect(rest == rest.sorted(), "neighbours before the walk over everything")
    #expect(rest.contains(.background))
  }

  @Test func `a guest that walks finds ever more pages there`() {
    var scheduler = PageScheduler(blocks: [block(pages: 4000)])
    var position = 1000
    var runs: [Int] = []
    for _ in 0..<6 {
      #expect(scheduler.request(address(0, position)) == .queued)
      #expect(scheduler.next()?.priority == .requested)
      var run = 0
      while let page = scheduler.next(), page.priority == .neighbour { run += 1 }
      runs.append(run)
      while scheduler.wasSent(address(0, position)) { position += 1 }
    }
    #expect(runs == runs.sorted())
    #expect((runs.first ?? 0) > 0)
    #expect((runs.last ?? 0) > 4 * (runs.first ?? 0))
  }

  @Test func `pages known to be zero go last`() {
    var scheduler = PageScheduler(blocks: [block(pages: 10), block(pages: 10)])
    let pages = (0..<20).compactMap { _ in scheduler.next { $0.offset / 4096 % 2 == 0 } }
    #expect(pages.prefix(10).allSatisfy { $0.priority == .background })
    #expect(pages.suffix(10).allSatisfy { $0.priority == .knownZero })
    #expect(scheduler.next() == nil)
  }

  @Test func `a peer's requests take bounded memory and are all served`() {
    let count = PageScheduler.Limits.queuedRequests + 1000
    var scheduler = PageScheduler(blocks: [block(pages: count)])
    var queued = 0
    for page in 0..<count where scheduler.request(address(0, page)) == .queued { queued += 1 }
    #expect(queued == PageScheduler.Limits.queuedRequests)
    var sent = 0
    while scheduler.next() != nil { sent += 1 }
    #expect(sent == count)
  }

  @Test func `addresses of no page lead to nothing`() {
    var scheduler = PageScheduler(
      blocks: [block(pages: 2)], demandOrder: [address(3, 0), address(0, 9)])
    #expect(scheduler.request(address(1, 0)) == .alreadySent)
    #expect(scheduler.request(address(0, 5)) == .alreadySent)
    #expect(scheduler.next()?.priority == .background)
  }

  @Test func `runs of what was not sent`() {
    var scheduler = PageScheduler(blocks: [block(pages: 10)])
    #expect(scheduler.unsentRun(blockIndex: 0, from: 0) == 0..<10)
    for page in [0, 3, 4, 9] { scheduler.markSent(blockIndex: 0, page: page) }
    #expect(scheduler.unsentRun(blockIndex: 0, from: 0) == 1..<3)
    #expect(scheduler.unsentRun(blockIndex: 0, from: 3) == 5..<9)
    #expect(scheduler.unsentRun(blockIndex: 0, from: 9) == nil)
    scheduler.putBack(address(0, 9))
    #expect(scheduler.unsentRun(blockIndex: 0, from: 9) == 9..<10)
    #expect(scheduler.remainingCount == 7)
  }

  @Test func `what adds to the remembered order comes behind it, once`() {
    let pages = (0..<6).map { address(0, $0) }
    #expect(
      DemandOrder.merged([pages[2], pages[0]], [pages[0], pages[5], pages[2], pages[1]])
        == [pages[2], pages[0], pages[5], pages[1]])
    #expect(DemandOrder.merged(pages, [], limit: 2).count == 2)
  }
}
