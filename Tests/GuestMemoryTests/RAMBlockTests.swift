// RAM blocks: what their memory is, where they lie, and how they go.

import CLinux
import Foundation
import Testing

@testable import GuestMemory

struct RAMBlockTests {
  private func bytes(_ block: RAMBlock, _ offset: Int, _ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: count)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    try block.read(offset: offset, into: &raw)
    return bytes
  }

  private func residentBytes() throws -> Int {
    let statm = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8)
    return (Int(statm.split(separator: " ")[1]) ?? 0) * 4096
  }

  @Test func `eight gibibytes take no memory and no time until they are used`() throws {
    let ram = RAMList()
    let before = try residentBytes()
    let clock = ContinuousClock()
    var block: RAMBlock?
    let taken = try clock.measure { block = try ram.add(name: "pc.ram", byteCount: 8 << 30) }
    #expect(taken < .milliseconds(100))
    #expect(try residentBytes() - before < 8 << 20)
    let last = (8 << 30) - 1
    try block?.write(offset: last, ([7] as [UInt8]).span.bytes)
    #expect(try block.map { try bytes($0, last - 1, 2) } == [0, 7])
    #expect((block?.hostAddress ?? 1) % UInt(2 << 20) == 0, "so that huge pages fit")
  }

  @Test func `shared memory is seen through another mapping`() throws {
    let block = try RAMList().add(name: "pc.ram", byteCount: 1 << 20, backing: .sharedMemory)
    try block.write(offset: 8192, ([1, 2, 3] as [UInt8]).span.bytes)
    guard let descriptor = try block.duplicateDescriptor() else {
      Issue.record("shared memory has a descriptor")
      return
    }
    var other = [UInt8](repeating: 0, count: 3)
    #expect(pread(descriptor.raw, &other, 3, 8192) == 3)
    #expect(other == [1, 2, 3])
    #expect(try block.discard(offset: 8000, byteCount: 4288) == 4096)
    #expect(pread(descriptor.raw, &other, 3, 8192) == 3)
    #expect(other == [0, 0, 0], "given back for every mapping")
  }

  @Test func `memory becomes shared where it is, with what is in it`() throws {
    let block = try RAMList().add(name: "pc.ram", byteCount: 5 << 20)
    let (first, last) = (8190, (5 << 20) - 1)
    try block.write(offset: first, ([1, 2, 3] as [UInt8]).span.bytes)
    try block.write(offset: last, ([4] as [UInt8]).span.bytes)
    let address = block.hostAddress
    #expect(!block.backing.isShared)
    try block.share()
    #expect(block.backing == .sharedMemory)
    #expect(block.hostAddress == address)
    #expect(try bytes(block, first, 3) == [1, 2, 3])
    #expect(try bytes(block, last - 1, 2) == [0, 4])
    guard let descriptor = try block.duplicateDescriptor() else {
      Issue.record("shared memory has a descriptor")
      return
    }
    var status = stat()
    #expect(fstat(descriptor.raw, &status) == 0)
    #expect(status.st_blocks * 512 == 3 * 4096, "only what is not zero was copied")
    try block.write(offset: 0, ([5] as [UInt8]).span.bytes)
    try block.share()
    var other = [UInt8](repeating: 0, count: 1)
    #expect(pread(descriptor.raw, &other, 1, 0) == 1)
    #expect(other == [5], "sharing again changes nothing")
  }

  @Test func `a private file is read, and never written`() throws {
    let path = NSTemporaryDirectory() + "/guest-memory-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(repeating: 0x41, count: 8192).write(to: URL(fileURLWithPath: path))
    let ram = RAMList()
    let block = try ram.add(name: "clone", byteCount: 8192, backing: .privateFile(path: path))
    try block.write(offset: 4096, ([9] as [UInt8]).span.bytes)
    #expect(try bytes(block, 4095, 3) == [0x41, 9, 0x41])
    #expect(try Data(contentsOf: URL(fileURLWithPath: path)).allSatisfy { $0 == 0x41 })
    let hasDescriptor = try block.duplicateDescriptor() != nil
    #expect(!hasDescriptor)
    #expect(throws: GuestMemoryError.fileTooShort(path: path, expected: 12288, found: 8192)) {
      try ram.add(name: "more", byteCount: 12288, backing: .privateFile(path: path))
    }
    #expect(throws: GuestMemoryError.self) {
      try ram.add(name: "none", byteCount: 4096, backing: .privateFile(path: path + ".none"))
    }
  }

  @Test func `what was given back reads as zeros`() throws {
    let block = try RAMList().add(name: "pc.ram", byteCount: 1 << 20)
    try block.write(offset: 0, [UInt8](repeating: 5, count: 12288).span.bytes)
    #expect(try block.discard(offset: 1, byteCount: 8191) == 4096, "whole pages only")
    #expect(try bytes(block, 4095, 2) == [5, 0])
    #expect(try bytes(block, 8191, 2) == [0, 5])
    #expect(try block.discard(offset: 10, byteCount: 100) == 0)
  }

  @Test(arguments: [
    (-1, 1), (0, -1), (4096, 1), (4095, 2), (.max, .max), (.min, 4), (1, .max), (4096, .min),
  ])
  func `a range that is not inside a block is refused`(offset: Int, count: Int) throws {
    let block = try RAMList().add(name: "pc.ram", byteCount: 4096)
    #expect(throws: GuestMemoryError.self) {
      try block.withBytes(offset: offset, byteCount: count) { _ in }
    }
    #expect(throws: GuestMemoryError.self) {
      try block.withMutableBytes(offset: offset, byteCount: count) { _ in }
    }
    #expect(throws: GuestMemoryError.self) {
      try block.discard(offset: offset, byteCount: count)
    }
  }

  @Test(arguments: [
    ("", 4096), ("a\0b", 4096), (String(repeating: "x", count: 256), 4096), ("odd", 4097),
    ("none", 0), ("negative", -4096), ("twice", 4096),
  ])
  func `a block that the wire cannot carry is refused`(name: String, count: Int) throws {
    let ram = RAMList()
    _ = try ram.add(name: "twice", byteCount: 4096)
    #expect(throws: GuestMemoryError.self) { try ram.add(name: name, byteCount: count) }
    #expect(ram.blocks.count == 1)
    // The place that was meant for it is free again.
    #expect(try ram.add(name: "next", byteCount: 4096).ramOffset == RAMAddress(64 * 4096))
  }

  @Test func `all RAM together has a limit`() throws {
    #expect(throws: GuestMemoryError.noPlace(name: "huge", byteCount: 65 << 40)) {
      try RAMList().add(name: "huge", byteCount: 65 << 40)
    }
    #expect(throws: GuestMemoryError.self) {
      try RAMList().add(name: "huge", byteCount: Int.max & ~4095)
    }
  }

  @Test func `a removed block's place is used again, and is clean`() throws {
    let ram = RAMList()
    ram.dirty.setEnabled(.all, true)
    let first = try ram.add(name: "first", byteCount: 1 << 20)
    var second: RAMBlock? = try ram.add(name: "second", byteCount: 2 << 20)
    let third = try ram.add(name: "third", byteCount: 1 << 20)
    let place = try #require(second?.ramRange)
    #expect(ram.block(at: place.start)?.name == "second")
    ram.dirty.mark(place)
    ram.dirty.setAll(place, for: .migration)
    #expect(second.map(ram.remove) != nil)
    #expect(ram.blocks.map(\.name) == ["first", "third"])
    let early = try ram.add(name: "early", byteCount: 2 << 20)
    #expect(early.ramOffset > third.ramOffset, "the old block is still in use")
    second = nil
    let late = try ram.add(name: "late", byteCount: 1 << 20)
    #expect(late.ramOffset == place.start)
    for client in DirtyClient.allCases {
      #expect(ram.dirty.dirtyPageCount(late.ramRange, for: client) == 0)
    }
    #expect(ram.block(named: "first") === first)
    withExtendedLifetime(early) {}
  }
}
