// A checkpoint's pages by their hashes.

import Foundation
import PageHash
import Testing

@testable import CheckpointStore

@Suite struct CheckpointHashesTests {
  private func read(_ hashes: CheckpointHashes, _ page: [UInt8]) throws -> [UInt8]? {
    var room = [UInt8](repeating: 0xAA, count: 4096)
    var span = room.mutableSpan
    var bytes = span.mutableBytes
    return hashes.read([try Digester().hash(page)], into: &bytes) == [true] ? room : nil
  }

  private func all(_ hashes: CheckpointHashes) throws -> Set<ContentHash> {
    var found: Set<ContentHash> = []
    try hashes.forEachHash { group in
      found.formUnion(group)
      return true
    }
    return found
  }

  @Test func `every stored page is found by its hash, zero pages and strangers are not`() throws {
    let fixture = try StoreFixture()
    let pages = (0..<300).map { $0 % 3 == 0 ? textPage(UInt64($0)) : noisePage(UInt64($0)) }
    // Another checkpoint before and between, so that references do not follow one another.
    try fixture.save("other", [("a", (300..<320).flatMap { noisePage($0) })])
    try fixture.save(
      "one", [("a", pages.flatMap { $0 } + zeroPage + pages[3]), ("b", noisePage(5000))])
    try fixture.save("later", [("a", noisePage(6000))])
    let hashes = CheckpointHashes(try fixture.store.checkpoint(named: "one"))
    #expect(try read(hashes, pages[0]) == nil)
    let digester = try Digester()
    let expected = Set((pages + [noisePage(5000)]).map { digester.hash($0) })
    #expect(try all(hashes) == expected)
    for page in pages { #expect(try read(hashes, page) == page) }
    for stranger in [zeroPage, noisePage(300), noisePage(6000), noisePage(9999)] {
      #expect(try read(hashes, stranger) == nil)
    }
    #expect(try all(hashes) == expected, "the second time as the first")
  }

  @Test func `pages that are asked for together come each in its place`() throws {
    let fixture = try StoreFixture()
    let pages = (0..<200).map { $0 % 5 < 2 ? textPage(UInt64($0)) : noisePage(UInt64($0)) }
    try fixture.save("one", [("a", pages.flatMap { $0 })])
    let hashes = CheckpointHashes(try fixture.store.checkpoint(named: "one"))
    _ = try all(hashes)
    let digester = try Digester()
    var order = Array(0..<200) + [7, 7, 8, 199, 0]
    for round in 0..<3 {
      if round > 0 { order.shuffle() }
      // Every ninth is a page that is not there.
      let wanted = order.enumerated().map { $0 % 9 == 4 ? noisePage(5000 + UInt64($1)) : pages[$1] }
      var room = [UInt8](repeating: 0xAA, count: wanted.count * 4096)
      var span = room.mutableSpan
      var bytes = span.mutableBytes
      let isRead = hashes.read(wanted.map { digester.hash($0) }, into: &bytes)
      for (place, page) in wanted.enumerated() {
        #expect(isRead[place] == (place % 9 != 4))
        if isRead[place] { #expect(Array(room[place * 4096..<(place + 1) * 4096]) == page) }
      }
    }
  }

  @Test func `whoever has enough is given no more`() throws {
    let fixture = try StoreFixture()
    try fixture.save("one", [("a", (0..<10).flatMap { noisePage($0) }), ("b", noisePage(99))])
    var groups = 0
    try CheckpointHashes(try fixture.store.checkpoint(named: "one")).forEachHash { _ in
      groups += 1
      return false
    }
    #expect(groups == 1)
  }

  @Test func `pages survive the deletion of their checkpoint while they are announced`() throws {
    let fixture = try StoreFixture()
    let page = noisePage(1)
    try fixture.save("one", [("a", page)])
    let hashes = CheckpointHashes(try fixture.store.checkpoint(named: "one"))
    #expect(try all(hashes).count == 1)
    try fixture.store.delete(["one"])
    _ = try fixture.store.collect()
    #expect(try read(hashes, page) == page)
  }

  @Test func `a page damaged on the disk does not stop the others`() throws {
    let fixture = try StoreFixture()
    let pages = (0..<8).map { noisePage(UInt64($0)) }
    try fixture.save("one", [("a", pages.flatMap { $0 })])
    let hashes = CheckpointHashes(try fixture.store.checkpoint(named: "one"))
    #expect(try all(hashes).count == 8)
    let pack = try #require(try fixture.files(".pack").first)
    let handle = try #require(FileHandle(forUpdatingAtPath: pack))
    let size = try handle.seekToEnd()
    try handle.truncate(atOffset: size / 2)
    let found = try pages.count { try read(hashes, $0) == $0 }
    #expect(found > 0 && found < 8)
  }
}
