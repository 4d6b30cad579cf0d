// What a save keeps, and what it costs.

import CheckpointStore
import Foundation
import Testing

@Suite struct SaveTests {
  @Test func `what is saved is read back`() throws {
    let fixture = try StoreFixture()
    let ram = noisePage(1) + zeroPage + textPage(2) + noisePage(1) + textPage(3)
    let rom = textPage(9) + noisePage(10)
    let state = CheckpointState(
      machine: "q35", qemuVersion: "7.2.19", architecture: "x86_64", targetPageSize: 4096,
      ramSectionID: 2, configuration: [9, 8], deviceState: Array(0..<200),
      vmDescription: Array("{}".utf8), metadata: Array("{\"a\":1}".utf8))
    let summary = try fixture.save("first", [("pc.ram", ram), ("pc.rom", rom)], state: state)
    #expect(summary.ramBytes == 7 * 4096)
    #expect(summary.pagesZero == 1)
    #expect(summary.pagesNew == 5)
    #expect(summary.pagesKnown == 1)
    #expect(summary.storedBytes > 2 * 4096 && summary.storedBytes < 4 * 4096)
    #expect(try fixture.content("first") == ram)
    #expect(try fixture.content("first", block: 1) == rom)
    let checkpoint = try fixture.store.checkpoint(named: "first")
    #expect(checkpoint.state == state)
    #expect(checkpoint.blocks.map(\.name) == ["pc.ram", "pc.rom"])
    #expect(checkpoint.info.summary == summary)
    #expect(try checkpoint.pageKind(block: 0, offset: 4096) == .zero)
    #expect(try checkpoint.pageKind(block: 0, offset: 0) != .zero)
    #expect(try fixture.store.checkpoints() == [checkpoint.info])
    #expect(try fixture.store.verify().isClean)
  }

  @Test func `a second save stores only what is new`() throws {
    let fixture = try StoreFixture()
    var ram: [UInt8] = []
    for seed in UInt64(0)..<200 { ram += noisePage(seed) }
    try fixture.save("one", [("ram", ram)])
    ram.replaceSubrange(4096 * 10..<4096 * 11, with: noisePage(1000))
    let summary = try fixture.save("two", [("ram", ram)])
    #expect(summary.pagesNew == 1)
    #expect(summary.pagesKnown == 199)
    #expect(summary.storedBytes == 4096)
    #expect(try fixture.content("two") == ram)
    let statistics = try fixture.store.checkpoint(named: "two").pageStatistics(block: 0)
    #expect(statistics.shared == 199)
    #expect(statistics.unique == 1)
    #expect(statistics.zero == 0)
  }

  /// Through the page cache, past it, and past it from the middle of a block on.
  @Test(arguments: WriterOptions.Compression.allCases, [nil, 0, 300_000])
  func `every way of compressing and writing gives the same pages back`(
    compression: WriterOptions.Compression, cachedByteCount: Int?
  ) throws {
    let fixture = try StoreFixture()
    var ram: [UInt8] = []
    for seed in UInt64(0)..<150 { ram += seed % 3 == 0 ? textPage(seed) : noisePage(seed) }
    // One thread, where what it writes is to be cut off in the middle.
    let options = WriterOptions(
      compression: compression, threads: cachedByteCount == 300_000 ? 1 : 3,
      cachedByteCount: cachedByteCount)
    let summary = try fixture.save("c", [("ram", ram)], options: options)
    #expect(summary.pagesNew == 150)
    #expect((summary.storedBytes == 150 * 4096) == (compression == .none))
    #expect(try fixture.content("c") == ram)
    #expect(try fixture.store.verify().isClean)
  }

  @Test(arguments: [nil, 0, 500_000])
  func `the last put of a page is the one that counts, and can be read back at any time`(
    cachedByteCount: Int?
  ) throws {
    let fixture = try StoreFixture()
    let writer = try fixture.store.beginCheckpoint(
      named: "deltas", options: WriterOptions(cachedByteCount: cachedByteCount))
    let pages = 96
    try writer.prepare(blocks: [
      CheckpointBlock(name: "a", byteCount: 4096),
      CheckpointBlock(name: "b", byteCount: UInt64(pages * 4096)),
    ])
    var model = [[UInt8]](repeating: zeroPage, count: pages)
    var generator = SeededGenerator(7)
    for _ in 0..<600 {
      let page = Int.random(in: 0..<pages, using: &generator)
      switch Int.random(in: 0..<6, using: &generator) {
      case 0:
        try writer.putZero(block: 1, offset: UInt64(page * 4096), byteCount: 4096)
        model[page] = zeroPage
      case 1:
        let content = textPage(UInt64.random(in: 0..<40, using: &generator))
        try writer.put(block: 1, offset: UInt64(page * 4096), content)
        model[page] = content
      case 2:
        let run = min(3, pages - page)
        var content: [UInt8] = []
        for place in 0..<run {
          model[page + place] =
            place == 1 ? zeroPage : noisePage(.random(in: 0..<99, using: &generator))
          content += model[page + place]
        }
        try writer.put(block: 1, offset: UInt64(page * 4096), content)
      case 3:
        var content = [UInt8](repeating: 1, count: 4096)
        try writer.read(block: 1, offset: UInt64(page * 4096), into: &content)
        #expect(content == model[page])
      default:
        let content = noisePage(.random(in: 0..<99, using: &generator))
        try writer.put(block: 1, offset: UInt64(page * 4096), content)
        model[page] = content
      }
    }
    let summary = try writer.seal(CheckpointState())
    #expect(try fixture.content("deltas", block: 1) == model.flatMap { $0 })
    let distinct = Set(model.filter { $0 != zeroPage })
    #expect(summary.pagesNew == UInt64(distinct.count))
    #expect(summary.pagesZero == UInt64(model.filter { $0 == zeroPage }.count + 1))
    #expect(try fixture.store.usage().storedPages == UInt64(distinct.count))
    #expect(try fixture.store.verify().isClean)
  }

  @Test func `an abandoned save leaves nothing`() throws {
    let fixture = try StoreFixture()
    let empty = try fixture.store.usage().packs
    for drop in [false, true] {
      let writer = try fixture.store.beginCheckpoint(named: "gone")
      try writer.prepare(blocks: [CheckpointBlock(name: "ram", byteCount: 4096 * 100)])
      for page in UInt64(0)..<100 { try writer.put(block: 0, offset: page * 4096, noisePage(page)) }
      if !drop { writer.abandon() }
    }
    #expect(try fixture.store.checkpoints().isEmpty)
    #expect(try fixture.store.usage().packs == empty)
    #expect(try fixture.store.usage().sessions == 0)
    try fixture.save("gone", [("ram", noisePage(1))])
  }

  @Test func `bad requests are refused with a sentence`() throws {
    let fixture = try StoreFixture()
    try fixture.save("taken", [("ram", noisePage(1))])
    #expect(throws: StoreError.nameTaken("taken")) {
      try fixture.store.beginCheckpoint(named: "taken")
    }
    for name in ["", "-x", ".x", "a/b", "a\nb", " x", String(repeating: "x", count: 200)] {
      #expect(throws: StoreError.self) { try fixture.store.beginCheckpoint(named: name) }
    }
    let writer = try fixture.store.beginCheckpoint(named: "new")
    #expect(throws: StoreError.self) { try writer.put(block: 0, offset: 0, noisePage(1)) }
    #expect(throws: StoreError.self) {
      try writer.prepare(blocks: [CheckpointBlock(name: "huge", byteCount: 1 << 60)])
    }
    #expect(throws: StoreError.self) {
      try writer.prepare(blocks: [CheckpointBlock(name: "odd", byteCount: 4095)])
    }
    try writer.prepare(blocks: [CheckpointBlock(name: "ram", byteCount: 8192)])
    #expect(throws: StoreError.self) { try writer.put(block: 1, offset: 0, noisePage(1)) }
    #expect(throws: StoreError.self) { try writer.put(block: 0, offset: 8192, noisePage(1)) }
    #expect(throws: StoreError.self) { try writer.put(block: 0, offset: 7, noisePage(1)) }
    #expect(throws: StoreError.self) { try writer.put(block: 0, offset: 0, [1, 2, 3]) }
    #expect(throws: StoreError.self) { try fixture.store.checkpoint(named: "none") }
    #expect(throws: StoreError.self) { try fixture.store.delete(["taken", "none"]) }
    #expect(try fixture.store.checkpoints().count == 1)
  }

  @Test func `of two saves of one name the second to seal is refused`() throws {
    let fixture = try StoreFixture()
    let first = try fixture.store.beginCheckpoint(named: "same")
    let second = try fixture.store.beginCheckpoint(named: "same")
    for writer in [first, second] {
      try writer.prepare(blocks: [CheckpointBlock(name: "ram", byteCount: 4096)])
      try writer.put(block: 0, offset: 0, noisePage(5))
    }
    _ = try first.seal(CheckpointState())
    #expect(throws: StoreError.nameTaken("same")) { try second.seal(CheckpointState()) }
    #expect(try fixture.content("same") == noisePage(5))
    #expect(try fixture.store.verify().isClean)
  }

  @Test func `two saves at once never store a page twice`() throws {
    let fixture = try StoreFixture()
    let writers = try ["a", "b"].map { try fixture.store.beginCheckpoint(named: $0) }
    for writer in writers {
      try writer.prepare(blocks: [CheckpointBlock(name: "ram", byteCount: 4096 * 80)])
      for page in UInt64(0)..<80 { try writer.put(block: 0, offset: page * 4096, noisePage(page)) }
    }
    #expect(try writers[0].seal(CheckpointState()).pagesNew == 80)
    let second = try writers[1].seal(CheckpointState())
    #expect(second.pagesNew == 0 && second.pagesKnown == 80)
    #expect(try fixture.store.usage().storedPages == 80)
    #expect(try fixture.store.usage().packs < 90 * 4096)
    #expect(try fixture.content("b") == (UInt64(0)..<80).flatMap(noisePage))
    #expect(try fixture.store.verify().isClean)
  }

  @Test func `a folder of other files is not taken for a store`() throws {
    let path = NSTemporaryDirectory() + "/godwit-other-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: path) }
    #expect(throws: StoreError.self) { try Store.open(at: path, create: false) }
    try Data([1]).write(to: URL(fileURLWithPath: path + "/letters.txt"))
    #expect(throws: StoreError.self) { try Store.open(at: path) }
  }
}
