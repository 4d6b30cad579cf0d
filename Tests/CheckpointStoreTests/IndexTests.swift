// The page table and the slots by themselves, and the small pieces that everything stands on.

import Foundation
import PageHash
import Testing

@testable import CheckpointStore

@Suite struct IndexTests {
  private final class TemporaryFolder {
    let path = NSTemporaryDirectory() + "/godwit-index-\(UUID().uuidString)"
    init() throws {
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }
  }

  private func randomHash(_ generator: inout SeededGenerator) -> ContentHash {
    ContentHash(generator.next(), generator.next(), generator.next(), generator.next())
  }

  @Test func `every page put into the index is found, and no other`() throws {
    let folder = try TemporaryFolder()
    let table = try PageTable.create(folder.path + "/table")
    var slots = try SlotFile.create(folder.path + "/slots", capacity: SlotFile.smallestCapacity)
    var generator = SeededGenerator(3)
    var model: [ContentHash: UInt64] = [:]
    for number in UInt64(1)...9000 {
      var hash = randomHash(&generator)
      // Crowds: many pages that begin their search at the same slots, the last of the file too.
      if number % 5 == 0 { hash = ContentHash(.max, hash.word1, hash.word2, hash.word3) }
      // Fingerprints that are alike.
      if number % 7 == 0 { hash = ContentHash(hash.word0, hash.word1, hash.word2, 99 << 40) }
      try table.write(
        [PageEntry(hash: hash, location: PageLocation(rawValue: number))], from: number)
      slots.insert(hash, number: number)
      model[hash] = number
      if !slots.hasRoom(for: 1) {
        let old = slots
        slots = try SlotFile.rebuild(
          folder.path + "/slots", from: table, length: number, room: 0, serial: 5, durable: true)
        old.markSuperseded()
        #expect(old.isSuperseded && !slots.isSuperseded)
      }
    }
    #expect(slots.count == 9000)
    let reopened = try #require(try SlotFile.open(folder.path + "/slots"))
    func find(_ hash: ContentHash) throws -> UInt64? {
      try reopened.find(hash) { (number) throws(StoreError) in
        try table.entry(number).hash == hash
      }?.number
    }
    for (hash, number) in model { #expect(try find(hash) == number) }
    for _ in 0..<2000 { #expect(try find(randomHash(&generator)) == nil) }
  }

  @Test func `an index takes at most one and a half percent of the pages it holds`() throws {
    for count in stride(from: UInt64(20_000), through: 4_000_000, by: 7_777) {
      let slots = 4096 + UInt64(SlotFile.capacity(for: count)) * 8
      let bytes = PageTable.byteCount(length: count) + slots
      #expect(Double(bytes) / Double(count * 4096) <= 0.015)
    }
  }

  @Test func `a file that is not slots is not taken for any`() throws {
    let folder = try TemporaryFolder()
    let path = folder.path + "/slots"
    #expect(try SlotFile.open(path) == nil)
    for size in [0, 8, 4096, 5000, 40_960] {
      try Data([UInt8](repeating: 0x5A, count: size)).write(to: URL(fileURLWithPath: path))
      #expect(try SlotFile.open(path) == nil)
    }
    _ = try SlotFile.create(path, capacity: 4096)
    let handle = try FileHandle(forUpdating: URL(fileURLWithPath: path))
    try handle.truncate(atOffset: 30_000)
    #expect(try SlotFile.open(path) == nil)
  }

  @Test func `locations and references keep what they are made of`() {
    for pack: UInt32 in [1, 77, (1 << 21) - 1] {
      for offset: UInt64 in [0, 4096, (1 << 30) - 1] {
        for length in [1, 3584, 4096] {
          let location = PageLocation(pack: pack, offset: offset, length: length)
          #expect(location.pack == pack && location.offset == offset)
          #expect(location.length == length && location.end == offset + UInt64(length))
        }
      }
    }
    let hash = ContentHash(1, 2, 3, 0xABCDEF << 40 | 5)
    let reference = PageReference(number: PageReference.numberLimit - 1, hash: hash)
    #expect(reference.number == PageReference.numberLimit - 1)
    #expect(reference.fingerprint == 0xABCDEF)
    #expect(SessionWord.stored(reference).meaning == .stored(reference))
    #expect(SessionWord.session(7).meaning == .session(number: 7))
    #expect(SessionWord.ticket(sequence: 9, index: 63).meaning == .pending(sequence: 9, index: 63))
  }

  @Test(arguments: [PageCodec.Codec.lz4, .zstd])
  func `altered compressed bytes are refused, never expanded beyond a page`(
    codec: PageCodec.Codec
  ) throws {
    let pages = PageCodec()
    let content = textPage(1)
    func compress(_ content: [UInt8]) -> [UInt8]? {
      var out = [UInt8](repeating: 0, count: 4096)
      var size: Int?
      do {
        var span = out.mutableSpan
        var room = span.mutableBytes
        size = pages.compress(content.span.bytes, with: codec, into: &room)
      }
      return size.map { Array(out[0..<$0]) }
    }
    let payload = try #require(compress(content))
    let size = payload.count
    #expect(size <= PageCodec.worthwhileSize)
    var page = [UInt8](repeating: 0, count: 4096)
    func expand(_ bytes: [UInt8]) -> String? {
      var span = page.mutableSpan
      var target = span.mutableBytes
      return pages.expand(bytes.span.bytes, into: &target)
    }
    #expect(expand(payload) == nil)
    #expect(page == content)
    for index in payload.indices {
      for bit in [0, 3, 7] {
        var altered = payload
        altered[index] ^= 1 << UInt8(bit)
        #expect(expand(altered) != nil, "byte \(index), bit \(bit)")
      }
    }
    for length in 0..<size { #expect(expand(Array(payload[0..<length])) != nil) }
    #expect(compress(noisePage(5)) == nil)
  }

  @Test func `a manifest of a terabyte takes less than a third of a percent`() {
    let block = CheckpointBlock(name: "ram", byteCount: 1 << 40)
    let layout = ManifestLayout(
      id: identityBytes(newIdentity()), chunkCount: ManifestLayout.chunkCount(block),
      descriptionSize: 1 << 20, descriptionDigest: .none)
    #expect(Double(layout.byteCount) / Double(block.byteCount) < 0.003)
  }

  @Test func `truncated descriptions are refused at every length`() throws {
    let info = CheckpointInfo(
      name: "n", id: newIdentity(), created: 1.5, machine: "pc", qemuVersion: "7.2",
      architecture: "x86_64", parent: nil, blocks: [CheckpointBlock(name: "a", byteCount: 4096)],
      summary: CheckpointSummary(ramBytes: 4096, pagesZero: 1))
    let description = ManifestDescription(
      info: info,
      state: CheckpointState(
        machine: "pc", qemuVersion: "7.2", architecture: "x86_64", deviceState: [1],
        vmDescription: [2], metadata: [3]))
    let bytes = description.encode()
    #expect(bytes.count == 4096)
    #expect(ManifestDescription(bytes) == description)
    let used = bytes.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
    for length in 0..<used { #expect(ManifestDescription(Array(bytes[0..<length])) == nil) }
    var generator = SeededGenerator(8)
    for _ in 0..<3000 {
      var altered = bytes
      altered[Int.random(in: 0..<used, using: &generator)] = .random(in: 0...255, using: &generator)
      _ = ManifestDescription(altered)
    }
  }
}
