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
    PageArrivals(blocks: blocks, pageSize: Self.pageSize)
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
    try arrivals.arrive(page(0, 3))
    #expect(arrivals.fault(page(0, 3)) == .present)
    #expect(arrivals.has(page(0, 3)))
    #expect(arrivals.missingCount == 71)
  }

  @Test func `a page that comes twice is refused: the guest may have written to it`() throws {
    var arrivals = arrivals()
    try arrivals.arrive(page(1, 7))
    let error = #expect(throws: PageArrivals.Violation.self) {
      try arrivals.arrive(page(1, 7))
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
    try arrivals.arrive(page(0, 9))
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
}
