// Whatever byte of a store is flipped: verify names it, and no damaged page is ever handed out.

import CheckpointStore
import Foundation
import Testing

@Suite struct DamageTests {
  /// A small store with everything in it: two checkpoints that share pages, plain, compressed and
  /// zero pages, device state, a demand order.
  private func makeStore() throws -> (StoreFixture, [String: [UInt8]]) {
    let fixture = try StoreFixture()
    var ram: [UInt8] = []
    for seed in UInt64(0)..<12 { ram += seed % 3 == 0 ? noisePage(seed) : textPage(seed) }
    ram += zeroPage
    try fixture.save("one", [("ram", ram)])
    let other = ram + textPage(99)
    try fixture.save("two", [("ram", other)])
    try fixture.store.checkpoint(named: "two").record(
      DemandRecord(
        requested: [RequestedPage(page: PageName(block: 0, offset: 4096), broughtBefore: 2)],
        brought: [BroughtPages(first: PageName(block: 0, offset: 0), pageCount: 3)]))
    return (fixture, ["one": ram, "two": other])
  }

  /// Flips a byte, looks what becomes of the store, and puts the byte back.
  ///
  /// - Returns: whether verify found it.
  private func isFound(
    _ fixture: StoreFixture, _ contents: [String: [UInt8]], _ path: String, _ offset: UInt64
  ) throws -> Bool {
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    defer { try? handle.close() }
    try handle.seek(toOffset: offset)
    guard let old = try handle.read(upToCount: 1)?.first else { return false }
    try handle.seek(toOffset: offset)
    try handle.write(contentsOf: Data([old ^ 0x10]))
    defer {
      try? handle.seek(toOffset: offset)
      try? handle.write(contentsOf: Data([old]))
    }
    // A store that is opened anew: what this one has in memory is not what is tested.
    let store: Store
    do {
      store = try Store.open(at: fixture.path)
    } catch { return true }
    for (name, content) in contents {
      do {
        let checkpoint = try store.checkpoint(named: name)
        try expectSoundGroup(checkpoint, content, "\(path) at \(offset)")
        let untouched = [UInt8](repeating: 0xAA, count: 4096)
        for page in 0..<content.count / 4096 {
          var bytes = untouched
          do {
            try checkpoint.read(block: 0, offset: UInt64(page * 4096), into: &bytes)
            #expect(
              bytes == Array(content[page * 4096..<(page + 1) * 4096]),
              "wrong content handed out: \(path) at \(offset)")
          } catch {
            #expect(bytes == zeroPage || bytes == untouched, "damage handed out with an error")
          }
        }
        #expect(checkpoint.state.deviceState == [1, 2, 3], "wrong state: \(path) at \(offset)")
      } catch {}
    }
    do { return try !store.verify().isClean } catch { return true }
  }

  private func read(
    _ pages: [(block: Int, offset: UInt64)], _ reader: PageGroupReader, into bytes: inout [UInt8]
  ) -> [PageKind?] {
    var span = bytes.mutableSpan
    // SAFETY: every byte pattern is a valid UInt8.
    var room = unsafe span.mutableBytes
    return reader.read(pages, into: &room)
  }

  /// Reads all pages as one group: each is right, or left to be read alone.
  private func expectSoundGroup(
    _ checkpoint: Checkpoint, _ content: [UInt8], _ what: String
  ) throws {
    let pages = (0..<content.count / 4096).map { (block: 0, offset: UInt64($0 * 4096)) }
    var bytes = [UInt8](repeating: 0, count: content.count)
    let reader = try PageGroupReader(checkpoint)
    let kinds = read(pages, reader, into: &bytes)
    for (page, kind) in kinds.enumerated() where kind != nil {
      let range = page * 4096..<(page + 1) * 4096
      #expect(bytes[range] == content[range], "wrong content in a group: \(what)")
    }
  }

  @Test func `a group of pages reads as each of them does, wherever they lie`() throws {
    let (fixture, contents) = try makeStore()
    let content = try #require(contents["two"])
    let checkpoint = try fixture.store.checkpoint(named: "two")
    let reader = try PageGroupReader(checkpoint)
    var generator = SeededGenerator(7)
    for _ in 0..<200 {
      let count = Int.random(in: 0...9, using: &generator)
      let chosen = (0..<count).map { _ in
        Int.random(in: 0..<content.count / 4096, using: &generator)
      }
      var bytes = [UInt8](repeating: 0, count: count * 4096)
      let kinds = read(
        chosen.map { (block: 0, offset: UInt64($0 * 4096)) }, reader, into: &bytes)
      for (place, page) in chosen.enumerated() {
        #expect(
          kinds[place] == (try checkpoint.pageKind(block: 0, offset: UInt64(page * 4096))))
        #expect(
          bytes[place * 4096..<(place + 1) * 4096] == content[page * 4096..<(page + 1) * 4096])
      }
    }
    // A page that there is not is no trap.
    var bytes = [UInt8](repeating: 0, count: 4096)
    #expect(read([(block: 0, offset: UInt64(content.count))], reader, into: &bytes) == [nil])
  }

  @Test func `a flipped byte is found wherever it is`() throws {
    let (fixture, contents) = try makeStore()
    #expect(try fixture.store.verify().isClean)
    var generator = SeededGenerator(42)
    for path in try fixture.files(".pack") + fixture.files(".manifest")
      + fixture.files("catalogue.sqlite") + fixture.files("catalogue.seal")
      + fixture.files(".order") + fixture.files("godwit-store")
    {
      let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? UInt64 ?? 0
      var offsets: Set<UInt64> = [0, size - 1]
      while offsets.count < min(Int(size), 45) {
        offsets.insert(UInt64.random(in: 0..<size, using: &generator))
      }
      for offset in offsets.sorted() {
        #expect(
          try isFound(fixture, contents, path, offset), "\(path) of \(size), byte \(offset)")
      }
    }
    #expect(try fixture.store.verify().isClean)
  }

  @Test func `a flipped byte of the page table is found`() throws {
    let (fixture, contents) = try makeStore()
    let path = try #require(try fixture.files("pages/table").first)
    let entries = UInt64(4096)..<UInt64(4096 + 13 * 40)
    for offset in entries where offset % 7 == 0 {
      #expect(try isFound(fixture, contents, path, offset), "byte \(offset)")
    }
    #expect(try isFound(fixture, contents, path, 3))
  }

  @Test func `damage is named by checkpoint, block and page`() throws {
    let fixture = try StoreFixture()
    try fixture.save("vm", [("rom", textPage(1)), ("pc.ram", zeroPage + noisePage(3))])
    let pack = try #require(
      try fixture.files(".pack").first {
        try Data(contentsOf: URL(fileURLWithPath: $0)).count > 8000
      })
    var bytes = try Data(contentsOf: URL(fileURLWithPath: pack))
    bytes[bytes.count - 100] ^= 1
    try bytes.write(to: URL(fileURLWithPath: pack))
    let report = try Store.open(at: fixture.path).verify("vm")
    #expect(report.damages.count == 1)
    let damage = try #require(report.damages.first)
    #expect(damage.checkpoint == "vm" && damage.block == "pc.ram" && damage.pageOffset == 4096)
    #expect(damage.file.hasPrefix("packs/"))
    #expect(damage.description.contains("block pc.ram, page at 0x1000"))
    let checkpoint = try Store.open(at: fixture.path).checkpoint(named: "vm")
    var page = [UInt8](repeating: 7, count: 4096)
    #expect(throws: StoreError.damaged(damage)) {
      try checkpoint.read(block: 1, offset: 4096, into: &page)
    }
    #expect(page == zeroPage)
  }

  @Test func `slots that are lost or altered cost nothing but a rebuild`() throws {
    let (fixture, contents) = try makeStore()
    let path = try #require(try fixture.files("pages/slots").first)
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    for index in stride(from: 4096, to: bytes.count, by: 8) where bytes[index + 3] != 0 {
      bytes[index + 3] ^= 0xFF
    }
    try bytes.write(to: URL(fileURLWithPath: path))
    let store = try Store.open(at: fixture.path)
    #expect(try store.verify().damages.map(\.file) == ["pages/slots"])
    _ = try store.collect()
    #expect(try store.verify().isClean)
    try FileManager.default.removeItem(atPath: path)
    let summary = try fixture.save("three", [("ram", contents["two"] ?? [])])
    #expect(summary.pagesNew == 0)
  }

  @Test func `a table that was torn by a crash is mended by the next save`() throws {
    let fixture = try StoreFixture()
    try fixture.save("one", [("ram", noisePage(1) + noisePage(2))])
    let path = try #require(try fixture.files("pages/table").first)
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try handle.seekToEnd()
    try handle.write(contentsOf: Data([UInt8](repeating: 0xEE, count: 1001)))
    try handle.close()
    let store = try Store.open(at: fixture.path)
    #expect(try store.verify().isClean)
    try fixture.save("two", [("ram", noisePage(2) + noisePage(3))])
    #expect(try fixture.content("two") == noisePage(2) + noisePage(3))
    #expect(try store.verify().isClean)
  }
}

@Suite struct RepairTests {
  @Test(arguments: [0, 30, 5000, 9000])
  func `a damaged catalogue is made anew from the manifests`(offset: Int) throws {
    let fixture = try StoreFixture()
    let one = noisePage(1) + textPage(2)
    let two = noisePage(1) + textPage(3) + zeroPage
    try fixture.save("one", [("ram", one)])
    try fixture.save("two", [("ram", two)])
    try fixture.save("gone", [("ram", noisePage(9))])
    try fixture.store.delete(["gone"])
    _ = try fixture.store.collect()
    let path = try #require(try fixture.files("catalogue.sqlite").first)
    var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
    for place in offset..<offset + 40 { bytes[place] ^= 0x55 }
    try bytes.write(to: URL(fileURLWithPath: path))
    #expect(throws: StoreError.self) {
      let store = try Store.open(at: fixture.path)
      _ = try store.beginCheckpoint(named: "x")
    }
    let listed = try Store.repairCatalogue(at: fixture.path)
    #expect(Set(listed.map(\.name)) == ["one", "two"])
    let store = try Store.open(at: fixture.path)
    #expect(try store.verify().isClean)
    for (name, content) in [("one", one), ("two", two)] {
      var read = [UInt8](repeating: 1, count: content.count)
      try store.checkpoint(named: name).read(block: 0, offset: 0, into: &read)
      #expect(read == content)
    }
    let writer = try store.beginCheckpoint(named: "next")
    try writer.prepare(blocks: [CheckpointBlock(name: "ram", byteCount: UInt64(two.count))])
    try writer.put(block: 0, offset: 0, two)
    #expect(try writer.seal(CheckpointState()).pagesNew == 0)
    #expect(try store.verify().isClean)
  }
}
