// What a collect frees, and what it never touches.

import CheckpointStore
import Foundation
import Testing

@Suite struct CollectTests {
  private func ram(_ seeds: Range<UInt64>) -> [UInt8] { seeds.flatMap(noisePage) }

  @Test func `what only a deleted checkpoint needed is freed, and its numbers used again`() throws {
    let fixture = try StoreFixture()
    try fixture.save("a", [("ram", ram(0..<100))])
    try fixture.save("b", [("ram", ram(90..<200))])
    let full = try fixture.store.usage()
    try fixture.store.delete(["b"])
    let report = try fixture.store.collect()
    #expect(report.pagesFreed == 100)
    #expect(report.pagesLive == 100)
    #expect(report.bytesFreed > 90 * 4096)
    #expect(try fixture.store.usage().packs < full.packs - 90 * 4096)
    #expect(try fixture.content("a") == ram(0..<100))
    #expect(try fixture.store.verify().isClean)

    let again = try fixture.save("b", [("ram", ram(90..<200))])
    #expect(again.pagesNew == 100)
    #expect(try fixture.content("b") == ram(90..<200))
    try fixture.store.delete(["a"])
    _ = try fixture.store.collect()
    try fixture.save("c", [("ram", ram(300..<350))])
    let table = try #require(try fixture.files("pages/table").first)
    let size = try FileManager.default.attributesOfItem(atPath: table)[.size] as? Int ?? 0
    #expect((size - 4096) / 40 <= 200, "freed numbers were not used again")
    #expect(try fixture.content("b") == ram(90..<200))
    #expect(try fixture.content("c") == ram(300..<350))
    #expect(try fixture.store.verify().isClean)
  }

  @Test func `a collect of everything leaves an empty store that works`() throws {
    let fixture = try StoreFixture()
    try fixture.save("a", [("ram", ram(0..<50))])
    try fixture.store.delete(["a"])
    _ = try fixture.store.collect()
    #expect(try fixture.files(".pack").isEmpty)
    #expect(try fixture.files(".manifest").isEmpty)
    #expect(try fixture.store.usage().storedPages == 0)
    try fixture.save("a", [("ram", ram(0..<50))])
    #expect(try fixture.content("a") == ram(0..<50))
  }

  @Test func `a restore that is going on keeps its pages, even if the checkpoint is deleted`()
    throws
  {
    let fixture = try StoreFixture()
    try fixture.save("a", [("ram", ram(0..<40))])
    try fixture.save("sparse", [("ram", ram(0..<2) + ram(50..<90))])
    let open = try fixture.store.checkpoint(named: "a")
    try fixture.store.delete(["a"])
    #expect(throws: StoreError.self) { try fixture.store.checkpoint(named: "a") }
    _ = try fixture.store.collect()
    var bytes = [UInt8](repeating: 0, count: 40 * 4096)
    try open.read(block: 0, offset: 0, into: &bytes)
    #expect(bytes == ram(0..<40))
    #expect(try fixture.content("sparse") == ram(0..<2) + ram(50..<90))
  }

  @Test func `a page that a collect moves is still found by those who read it`() throws {
    let fixture = try StoreFixture()
    var mixed: [UInt8] = []
    for seed in UInt64(0)..<200 { mixed += textPage(seed) }
    try fixture.save("a", [("ram", mixed)])
    let few = textPage(3) + textPage(77) + textPage(150)
    try fixture.save("b", [("ram", few)])
    let open = try fixture.store.checkpoint(named: "b")
    var page = zeroPage
    try open.read(block: 0, offset: 0, into: &page)
    try fixture.store.delete(["a"])
    let report = try fixture.store.collect()
    #expect(report.packsCompacted > 0)
    for (index, seed) in [3, 77, 150].enumerated() {
      try open.read(block: 0, offset: UInt64(index * 4096), into: &page)
      #expect(page == textPage(UInt64(seed)))
    }
    #expect(try fixture.content("b") == few)
    #expect(try fixture.store.verify().isClean)
  }

  @Test func `a collect waits for a save, and says for whose`() throws {
    let fixture = try StoreFixture()
    let writer = try fixture.store.beginCheckpoint(named: "slow")
    try writer.prepare(blocks: [CheckpointBlock(name: "ram", byteCount: 4096 * 30)])
    try writer.put(block: 0, offset: 0, ram(0..<30))
    let pid = ProcessInfo.processInfo.processIdentifier
    do {
      _ = try fixture.store.collect()
      Issue.record("a collect went on beside a save")
    } catch StoreError.busy(_, let holders) {
      #expect(holders == [pid])
    }
    _ = try writer.seal(CheckpointState())
    _ = try fixture.store.collect()
    #expect(try fixture.content("slow") == ram(0..<30))
    #expect(try fixture.store.verify().isClean)
  }

  @Test func `random saves, deletions and collects never lose a listed page`() throws {
    let fixture = try StoreFixture()
    var generator = SeededGenerator(2026)
    var model: [String: [UInt8]] = [:]
    for step in 0..<40 {
      switch Int.random(in: 0..<5, using: &generator) {
      case 0 where !model.isEmpty:
        let name = try #require(model.keys.sorted().randomElement(using: &generator))
        try fixture.store.delete([name])
        model[name] = nil
      case 1:
        _ = try fixture.store.collect()
      default:
        let content = (0..<Int.random(in: 1..<60, using: &generator)).flatMap { _ in
          let seed = UInt64.random(in: 0..<150, using: &generator)
          return seed % 5 == 0 ? zeroPage : seed % 2 == 0 ? textPage(seed) : noisePage(seed)
        }
        try fixture.save("s\(step)", [("ram", content)])
        model["s\(step)"] = content
      }
      #expect(Set(try fixture.store.checkpoints().map(\.name)) == Set(model.keys))
    }
    for (name, content) in model { #expect(try fixture.content(name) == content) }
    #expect(try fixture.store.verify().isClean)
    _ = try fixture.store.collect()
    let needed = Set(
      model.values.flatMap { bytes in
        stride(from: 0, to: bytes.count, by: 4096).map { Array(bytes[$0..<$0 + 4096]) }
      }
    ).subtracting([zeroPage])
    #expect(try fixture.store.usage().storedPages == UInt64(needed.count))
    for (name, content) in model { #expect(try fixture.content(name) == content) }
  }

  @Test func `a flat image is the block, byte for byte, and goes with its checkpoint`() throws {
    let fixture = try StoreFixture()
    let content = ram(0..<70) + zeroPage + zeroPage + textPage(1)
    try fixture.save("a", [("rom", textPage(8)), ("ram", content)])
    let checkpoint = try fixture.store.checkpoint(named: "a")
    let path = try checkpoint.flatImage(block: 1)
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data(content))
    #expect(try checkpoint.flatImage(block: 1) == path)
    _ = try fixture.store.collect()
    #expect(FileManager.default.fileExists(atPath: path))
    try fixture.store.delete(["a"])
    _ = try fixture.store.collect()
    #expect(!FileManager.default.fileExists(atPath: path))
  }

  @Test func `the order in which a guest asked for pages is kept`() throws {
    let fixture = try StoreFixture()
    try fixture.save("a", [("ram", ram(0..<20))])
    let checkpoint = try fixture.store.checkpoint(named: "a")
    #expect(checkpoint.demandRecord.isEmpty)
    let pages = [7, 3, 19].map { PageName(block: 0, offset: UInt64($0 * 4096)) }
    let runs = [BroughtPages(first: pages[0], pageCount: 13)]
    let order = DemandRecord(
      requested: pages.map { RequestedPage(page: $0, broughtBefore: 77) }, brought: runs)
    try checkpoint.record(order)
    #expect(try fixture.store.checkpoint(named: "a").demandRecord == order)
    let less = DemandRecord(requested: [order.requested[1]])
    try checkpoint.record(less)
    #expect(checkpoint.demandRecord == less)
    let strayed = [
      DemandRecord(
        requested: [RequestedPage(page: PageName(block: 0, offset: 20 * 4096), broughtBefore: 0)]),
      DemandRecord(brought: [BroughtPages(first: pages[2], pageCount: 2)]),
      DemandRecord(brought: [BroughtPages(first: pages[2], pageCount: 0)]),
    ]
    for record in strayed {
      #expect(throws: StoreError.self) { try checkpoint.record(record) }
    }
    #expect(checkpoint.demandRecord == less)
  }
}
