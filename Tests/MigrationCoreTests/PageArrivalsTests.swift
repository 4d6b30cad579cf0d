// What a running destination asks for, what it takes, and what it must not take.

import MigrationCore
import Testing
import Wire

@Suite struct `The pages of a machine that runs already` {
  private static let pageSize = 1024
  private let blocks = [
    RAMBlockDescription(name: "pc.ram", usedLength: 64 << 10),
    RAMBlockDescription(name: "vga.vram", usedLength: 8 << 10),
  ]

  private func arrivals() -> PageArrivals {
    PageArrivals(blocks: blocks, targetPageSize: Self.pageSize)
  }

  private func page(_ block: Int, _ number: Int) -> RAMPageAddress {
    RAMPageAddress(blockIndex: block, offset: UInt64(number * Self.pageSize))
  }

  private func request(_ block: String?, _ number: Int) -> ReturnPathMessage {
    .requestPages(
      block: block, start: UInt64(number * Self.pageSize), length: UInt32(Self.pageSize))
  }

  @Test func `a page is asked for once, and by its block's name only where that changes`() {
    var arrivals = arrivals()
    #expect(arrivals.fault(page(0, 3)) == .request(request("pc.ram", 3)))
    #expect(arrivals.fault(page(0, 3)) == .awaited)
    #expect(arrivals.fault(page(0, 4)) == .request(request(nil, 4)))
    #expect(arrivals.fault(page(1, 0)) == .request(request("vga.vram", 0)))
    #expect(arrivals.fault(page(0, 5)) == .request(request("pc.ram", 5)))
    #expect(arrivals.requestCount == 4)
  }

  @Test func `who waits for a page that has come is woken, not asked for again`() throws {
    var arrivals = arrivals()
    #expect(try arrivals.take(page(0, 3)) == .whole(page(0, 3)))
    let wasAwaited = arrivals.arrive(page(0, 3))
    #expect(!wasAwaited)
    #expect(arrivals.fault(page(0, 3)) == .present)
    #expect(arrivals.has(page(0, 3)))
    #expect(arrivals.missingCount == 71)
  }

  @Test func `a page that comes twice is refused: the guest may have written to it`() throws {
    var arrivals = arrivals()
    _ = arrivals.arrive(page(1, 7))
    let error = #expect(throws: PageArrivals.Violation.self) {
      try arrivals.take(page(1, 7))
    }
    #expect(error?.description.contains("vga.vram") == true)
    #expect(arrivals.missingCount == 71)
  }

  @Test func `over a new link everything that is waited for is asked for anew, first by name`()
    throws
  {
    var arrivals = arrivals()
    for number in [9, 2, 30] { _ = arrivals.fault(page(0, number)) }
    _ = arrivals.fault(page(1, 1))
    let wasAwaited = arrivals.arrive(page(0, 9))
    #expect(wasAwaited)
    #expect(
      arrivals.requestsAgain() == [
        request("pc.ram", 2), request(nil, 30), request("vga.vram", 1),
      ])
    #expect(arrivals.fault(page(1, 2)) == .request(request(nil, 2)))
  }

  @Test func `the bitmap for a recovery has what came, and not what was taken back`() throws {
    var arrivals = arrivals()
    for number in 0..<10 { arrivals.place(page(0, number)) }
    let (index, ranges) = try arrivals.discard(
      block: "pc.ram", [RAMDiscardRange(start: 2048, length: 3072)])
    #expect(index == 0)
    #expect(ranges == [2048..<5120])
    let bitmap = try arrivals.bitmap(ofBlock: "pc.ram")
    #expect((0..<64).filter { bitmap[$0] } == [0, 1, 5, 6, 7, 8, 9])
    #expect(arrivals.missingCount == 72 - 7)
    #expect(arrivals.fault(page(0, 3)) == .request(request("pc.ram", 3)))
  }

  @Test(
    arguments: [
      ("pc.bios", 0, 1024), ("pc.ram", 100, 1024), ("pc.ram", 0, 100), ("pc.ram", 65536, 1024),
      ("pc.ram", 64512, 2048), ("vga.vram", UInt64.max - 1023, 1024),
      ("pc.ram", 1024, UInt64.max - 1023),
    ] as [(String, UInt64, UInt64)])
  func `a discard outside of what there is changes nothing`(
    block: String, start: UInt64, length: UInt64
  ) {
    var arrivals = arrivals()
    arrivals.place(page(0, 0))
    #expect(throws: PageArrivals.Violation.self) {
      try arrivals.discard(block: block, [RAMDiscardRange(start: start, length: length)])
    }
    #expect(arrivals.has(page(0, 0)))
  }

  @Test func `the bitmap of a block that was not announced is refused`() {
    #expect(throws: PageArrivals.Violation.self) { try arrivals().bitmap(ofBlock: "pc.bios") }
  }

  @Test func `what was taken back is owed until it comes, what was never spoken of is not`() throws
  {
    var arrivals = arrivals()
    for number in 0..<4 { arrivals.place(page(0, number)) }
    #expect(arrivals.owedCount == 0)
    _ = try arrivals.discard(
      block: "pc.ram",
      [RAMDiscardRange(start: 1024, length: 2048), RAMDiscardRange(start: 8192, length: 1024)])
    #expect(arrivals.owedCount == 3)
    for number in [1, 8] {
      #expect(try arrivals.take(page(0, number)) == .whole(page(0, number)))
      _ = arrivals.arrive(page(0, number))
    }
    #expect(arrivals.owedCount == 1)
    _ = arrivals.arrive(page(0, 2))
    #expect(arrivals.owedCount == 0)
    let missing = arrivals.missingRanges()
    #expect(missing.map(\.blockIndex) == [0, 0, 1])
    #expect(missing.map(\.range) == [4096..<8192, 9216..<65536, 0..<8192])
  }

  @Test func `what is taken back again and again is owed once`() throws {
    var arrivals = arrivals()
    for number in 0..<2000 as Range<UInt64> {
      let start = number.isMultiple(of: 2) ? 1024 : 8192 as UInt64
      _ = try arrivals.discard(block: "pc.ram", [RAMDiscardRange(start: start, length: 2048)])
    }
    #expect(arrivals.owedCount == 4)
    // Before the machine runs a page may come, be taken back, and come again.
    arrivals.place(page(0, 1))
    #expect(arrivals.owedCount == 3)
    _ = try arrivals.discard(block: "pc.ram", [RAMDiscardRange(start: 1024, length: 1024)])
    #expect(arrivals.owedCount == 4)
  }

  // Pages of four target pages in the first block, of one in the second.
  private func largePages() -> PageArrivals {
    PageArrivals(
      blocks: blocks, targetPageSize: Self.pageSize,
      pageSizes: [4 * Self.pageSize, Self.pageSize])
  }

  @Test func `a large page is there when all of it is, and is asked for whole`() throws {
    var arrivals = largePages()
    #expect(
      arrivals.fault(page(0, 4))
        == .request(.requestPages(block: "pc.ram", start: 4096, length: 4096)))
    for number in 4..<7 {
      #expect(try arrivals.take(page(0, number)) == .partial)
      #expect(arrivals.fault(page(0, 4)) == .awaited)
    }
    #expect(try arrivals.take(page(0, 7)) == .whole(page(0, 4)))
    #expect(arrivals.missingCount == 72)
    let wasAwaited = arrivals.arrive(page(0, 4))
    #expect(wasAwaited)
    #expect(arrivals.missingCount == 68)
    #expect(arrivals.fault(page(0, 4)) == .present)
    #expect(try (4..<8).allSatisfy { try arrivals.bitmap(ofBlock: "pc.ram")[$0] })
    #expect(throws: PageArrivals.Violation.self) { try arrivals.take(page(0, 4)) }
  }

  @Test(arguments: [[0, 1, 4], [0, 2], [1], [0, 1, 0], [0, 1, 2, 8]])
  func `a large page that does not come whole and in order is refused`(numbers: [Int]) throws {
    var arrivals = largePages()
    for number in numbers.dropLast() { _ = try arrivals.take(page(0, number)) }
    // The last of them is a page of the other block where its number is 8.
    let last = numbers.last == 8 ? page(1, 0) : page(0, try #require(numbers.last))
    let error = #expect(throws: PageArrivals.Violation.self) { try arrivals.take(last) }
    #expect(error?.description.contains("whole") == true)
  }

  @Test func `over a new link what came of a large page is forgotten`() throws {
    var arrivals = largePages()
    for number in 0..<3 { _ = try arrivals.take(page(0, number)) }
    #expect(arrivals.requestsAgain() == [])
    for number in 8..<11 { #expect(try arrivals.take(page(0, number)) == .partial) }
    #expect(try arrivals.take(page(0, 11)) == .whole(page(0, 8)))
    #expect(try arrivals.bitmap(ofBlock: "pc.ram").receivedCount == 0)
  }

  @Test func `what another has kept is carried on`() throws {
    var first = PageBitmap(pageCount: 64)
    first.insert(3..<9)
    var owed = PageBitmap(pageCount: 64)
    owed.insert(0..<10)
    let none = PageBitmap(pageCount: 8)
    var arrivals = PageArrivals(
      blocks: blocks, targetPageSize: Self.pageSize,
      kept: [
        PageArrivals.KeptPages(arrived: first, owed: owed),
        PageArrivals.KeptPages(arrived: none, owed: none),
      ])
    #expect(arrivals.missingCount == 72 - 6)
    #expect(arrivals.owedCount == 4)
    #expect(arrivals.fault(page(0, 5)) == .present)
    #expect(throws: PageArrivals.Violation.self) { try arrivals.take(page(0, 3)) }
  }

  // MARK: Two channels

  @Test(arguments: PageArrivals.Channel.allCases)
  func `of two copies of a page the first counts, whichever channel is faster`(
    channel: PageArrivals.Channel
  ) throws {
    let other: PageArrivals.Channel = channel == .main ? .preempt : .main
    var arrivals = arrivals()
    arrivals.hasTwoChannels = true
    #expect(arrivals.fault(page(0, 3)) == .request(request("pc.ram", 3)))
    #expect(try arrivals.take(page(0, 3), over: channel) == .whole(page(0, 3)))
    let wasAwaited = arrivals.arrive(page(0, 3))
    #expect(wasAwaited)
    #expect(try arrivals.take(page(0, 3), over: other) == .superfluous)
    #expect(try arrivals.take(page(0, 4), over: other) == .whole(page(0, 4)))
    #expect(arrivals.missingCount == 71)
  }

  @Test func `large pages come over both channels at a time, each whole over its own`() throws {
    var arrivals = largePages()
    arrivals.hasTwoChannels = true
    #expect(try arrivals.take(page(0, 0), over: .main) == .partial)
    #expect(try arrivals.take(page(0, 1), over: .main) == .partial)
    for number in 8..<11 { #expect(try arrivals.take(page(0, number), over: .preempt) == .partial) }
    #expect(try arrivals.take(page(0, 2), over: .main) == .partial)
    #expect(try arrivals.take(page(0, 11), over: .preempt) == .whole(page(0, 8)))
    _ = arrivals.arrive(page(0, 8))
    #expect(try arrivals.take(page(0, 3), over: .main) == .whole(page(0, 0)))
    _ = arrivals.arrive(page(0, 0))
    #expect(arrivals.missingCount == 72 - 8)
  }

  @Test func `a large page that has begun over one channel is not filled from the other`() throws {
    var arrivals = largePages()
    arrivals.hasTwoChannels = true
    #expect(try arrivals.take(page(0, 4), over: .main) == .partial)
    for number in 4..<6 {
      #expect(try arrivals.take(page(0, number), over: .preempt) == .superfluous)
    }
    for number in 5..<7 { #expect(try arrivals.take(page(0, number), over: .main) == .partial) }
    #expect(try arrivals.take(page(0, 7), over: .main) == .whole(page(0, 4)))
    _ = arrivals.arrive(page(0, 4))
    for number in 6..<8 {
      #expect(try arrivals.take(page(0, number), over: .preempt) == .superfluous)
    }
    // Over a new link neither is in the middle of anything.
    #expect(try arrivals.take(page(0, 8), over: .preempt) == .partial)
    _ = arrivals.requestsAgain()
    #expect(try arrivals.take(page(0, 8), over: .main) == .partial)
  }
}
