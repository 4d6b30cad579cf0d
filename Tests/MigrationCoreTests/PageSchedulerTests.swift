// Which page goes next, whoever asks for what and when.

import MigrationCore
import Testing
import Wire

@Suite struct `Scheduling of pages` {
  private func address(_ block: Int, _ page: Int, size: Int = 4096) -> RAMPageAddress {
    RAMPageAddress(blockIndex: block, offset: UInt64(page * size))
  }

  private func demanded(_ pages: [Int], broughtBefore: UInt64 = 0) -> [DemandedPage] {
    pages.map { DemandedPage(address(0, $0), broughtBefore: broughtBefore) }
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
    func anyOrder() -> DemandOrder {
      DemandOrder(
        requested: (0..<20).map { _ in
          DemandedPage(anyPage(), broughtBefore: .random(in: 0...(round % 2 == 0 ? 300 : .max)))
        },
        brought: (0..<20).map { _ in
          RAMPageRun(
            start: anyPage(), byteCount: .random(in: 0...(round % 2 == 0 ? 100_000 : .max)))
        })
    }
    var scheduler = PageScheduler(
      blocks: blocks, omittedBlocks: omitted, demandOrder: anyOrder())
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
      blocks: [block(pages: 400)],
      demandOrder: DemandOrder(
        requested: demanded([50, 7, 50]),
        brought: [
          RAMPageRun(start: address(0, 390), byteCount: 3 * 4096),
          RAMPageRun(start: address(0, 100), byteCount: 4096),
        ]))
    #expect(scheduler.request(address(0, 300)) == .queued)
    #expect(scheduler.request(address(0, 300)) == .duplicate)
    #expect(scheduler.request(address(0, 200)) == .queued)
    #expect(scheduler.hasRequests)
    let first = (0..<5).compactMap { _ in scheduler.next() }
    #expect(first.map(\.address.offset) == [300, 200, 50, 7, 201].map { $0 * 4096 })
    #expect(
      first.map(\.priority) == [.requested, .requested, .remembered, .remembered, .neighbour])
    #expect(scheduler.request(address(0, 200)) == .alreadySent)
    let rest = (0..<200).compactMap { _ in scheduler.next() }
    let priorities = rest.map(\.priority)
    #expect(priorities == priorities.sorted(), "neighbours before the walk over everything")
    let walk = rest.filter { $0.priority == .background }.map(\.address.offset)
    #expect(Array(walk.prefix(6)) == [390, 391, 392, 100, 0, 1].map { $0 * 4096 })
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
      blocks: [block(pages: 2)],
      demandOrder: DemandOrder(
        requested: [address(3, 0), address(0, 9)].map { DemandedPage($0, broughtBefore: 0) },
        brought: [RAMPageRun(start: address(7, 0), byteCount: 4096)]))
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
    let runs = [RAMPageRun(start: pages[4], byteCount: 8192)]
    let known = DemandOrder(requested: demanded([2, 0]), brought: runs)
    let observed = DemandOrder(
      requested: demanded([0, 5, 2], broughtBefore: 9) + demanded([1], broughtBefore: 7))
    let both = known.followed(by: observed)
    #expect(both.requested.map(\.address) == [pages[2], pages[0], pages[1], pages[5]])
    #expect(both.brought == runs, "a restore that brought nothing teaches nothing")
    #expect(observed.followed(by: known).brought == runs)
  }

  @Test func `the next guest gets unasked pages in the order in which the last one got them`() {
    let blocks = [block(pages: 3000), block(pages: 500)]
    var first = PageScheduler(blocks: blocks)
    var order: [RAMPageAddress] = []
    var requests: [RAMPageAddress] = []
    while true {
      if order.count % 97 == 5 {
        let wanted = address(order.count % 2, order.count * 31 % 500)
        if first.request(wanted) == .queued { requests.append(wanted) }
      }
      guard let page = first.next() else { break }
      if page.priority != .requested { order.append(page.address) }
    }
    let runs = first.broughtRuns
    #expect(runs.count < order.count / 4, "pages side by side share an entry")
    var second = PageScheduler(
      blocks: blocks,
      demandOrder: DemandOrder(
        requested: requests.map { DemandedPage($0, broughtBefore: 0) }, brought: runs))
    var again: [RAMPageAddress] = []
    while let page = second.next() { again.append(page.address) }
    #expect(again == requests + order)
  }

  @Test func `a remembered page goes out well before its time, not at the very beginning`() {
    let lead = Int(PageScheduler.Limits.rememberedLead)
    var scheduler = PageScheduler(
      blocks: [block(pages: 4 * lead)],
      demandOrder: DemandOrder(
        requested: demanded([4 * lead - 1]) + demanded([4 * lead - 2], broughtBefore: 9000)))
    var order: [Int] = []
    while let page = scheduler.next() { order.append(Int(page.address.offset / 4096)) }
    #expect(order.first == 4 * lead - 1)
    #expect(order.firstIndex(of: 4 * lead - 2) == 4500 - lead + 2)
  }
}
