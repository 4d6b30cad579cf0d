// Pages that hold nothing, as the kernel tells, and what telling costs.

import Glibc
import Testing

@testable import GuestMemory

struct UntouchedMemoryTests {
  private static let pageCount = 4096

  private func block(_ backing: RAMBacking) throws -> RAMBlock {
    let block = try RAMList().add(
      name: "pc.ram", byteCount: Self.pageCount * 4096, backing: backing)
    // A huge page would be touched as a whole.
    try block.setHugePages(false)
    return block
  }

  private func untouched(_ block: RAMBlock) -> [Range<Int>] {
    block.untouchedRuns(offset: 0, byteCount: block.byteCount)
  }

  private func write(_ block: RAMBlock, page: Int) throws {
    try block.write(offset: page * 4096 + 5, ([7] as [UInt8]).span.bytes)
  }

  @Test(arguments: [RAMBacking.anonymous, .sharedMemory])
  func `what was written is touched until it is given back`(backing: RAMBacking) throws {
    let block = try block(backing)
    #expect(untouched(block) == [0..<Self.pageCount])
    for page in [0, 17, 18, 2000, 4095] { try write(block, page: page) }
    #expect(untouched(block) == [1..<17, 19..<2000, 2001..<4095])
    #expect(block.untouchedRuns(offset: 16 * 4096, byteCount: 4 * 4096) == [16..<17, 19..<20])
    #expect(block.untouchedRuns(offset: 17 * 4096, byteCount: 4096) == [])
    #expect(block.untouchedRuns(offset: 17 * 4096, byteCount: 0) == [])
    try block.discard(offset: 17 * 4096, byteCount: 2 * 4096)
    #expect(untouched(block) == [1..<2000, 2001..<4095])
  }

  @Test func `asking takes no memory, and what others put into the file is seen`() throws {
    let block = try block(.sharedMemory)
    _ = untouched(block)
    guard let descriptor = try block.duplicateDescriptor() else {
      Issue.record("shared memory has a descriptor")
      return
    }
    func taken() -> Int {
      var status = stat()
      fstat(descriptor.raw, &status)
      return Int(status.st_blocks) * 512
    }
    #expect(taken() == 0)
    // Written through the file, so that this process has mapped nothing of it.
    #expect(pwrite(descriptor.raw, "x", 1, 100 * 4096) == 1)
    #expect(untouched(block) == [0..<100, 101..<Self.pageCount])
    #expect(taken() == 4096)
  }

  @Test func `memory that becomes shared is asked for anew`() throws {
    let block = try block(.anonymous)
    try write(block, page: 3)
    try block.share()
    #expect(untouched(block) == [0..<3, 4..<Self.pageCount])
  }

  @Test func `a file's content is never taken for nothing`() throws {
    let path = "/tmp/godwit-untouched-\(getpid())"
    let file = try #require(fopen(path, "w"))
    defer { unlink(path) }
    ftruncate(fileno(file), 16 * 4096)
    fclose(file)
    let block = try RAMList().add(
      name: "rom", byteCount: 16 * 4096, backing: .privateFile(path: path))
    #expect(untouched(block) == [])
  }
}
