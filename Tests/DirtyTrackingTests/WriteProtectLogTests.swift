// Memory that no KVM owns: host threads write, the page tables tell.

import DirtyTracking
import Glibc
import GuestMemory
import Synchronization
import Testing
import Transport

@Suite(
  .enabled(
    if: Host.capabilities.writeProtectObstacle == nil,
    "needs asynchronous write protection (Linux 6.7) and userfaultfd"),
  .serialized)
struct WriteProtectLogTests {
  private func dirtyPages(_ block: RAMBlock) -> [Int] {
    var words = [UInt64](repeating: 0, count: (block.pageCount + 63) / 64)
    var span = words.mutableSpan
    block.dirty.harvestAndClear(block.ramRange, for: .migration, into: &span)
    return (0..<block.pageCount).filter { words[$0 / 64] & 1 << UInt64($0 % 64) != 0 }
  }

  private func write(_ block: RAMBlock, page: Int) throws {
    try block.withMutableBytes(offset: page * 4096, byteCount: 8) { bytes in
      bytes.storeBytes(of: UInt64(page), toByteOffset: 0, as: UInt64.self)
    }
  }

  @Test(arguments: [RAMBacking.anonymous, .sharedMemory])
  func `writes are told once, by block and page`(backing: RAMBacking) throws {
    let ram = RAMList()
    let first = try ram.add(name: "first", byteCount: 100 * 4096, backing: backing)
    let second = try ram.add(name: "second", byteCount: 70 * 4096, backing: backing)
    let log = WriteProtectLog(ram: ram, reason: "For a test.")
    try write(first, page: 1)
    try log.start()
    #expect(try log.sync() == 0)
    try write(first, page: 1)
    try write(first, page: 99)
    try write(second, page: 0)
    #expect(try log.sync() == 3)
    #expect(dirtyPages(first) == [1, 99] && dirtyPages(second) == [0])
    #expect(try log.sync() == 0)
    try write(second, page: 69)
    #expect(try log.sync() == 1)
    #expect(dirtyPages(second) == [69])
    try log.stop()
    try write(second, page: 5)
    #expect(try log.sync() == 0, "a stopped log is empty")
    try log.start()
    #expect(try log.sync() == 0, "and forgets")
    try log.stop()
  }

  @Test func `pages that hold nothing are known from the moment that they are followed`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "first", byteCount: 100 * 4096)
    let shared = try ram.add(name: "second", byteCount: 70 * 4096, backing: .sharedMemory)
    try block.setHugePages(false)
    for page in [0, 50, 99] { try write(block, page: page) }
    try write(shared, page: 1)
    let log = WriteProtectLog(ram: ram, reason: "For a test.")
    #expect(log.untouchedAtStart == [])
    try log.start()
    let base = block.ramRange.pages.lowerBound
    let expected = [1..<50, 51..<99].map { base + $0.lowerBound..<base + $0.upperBound }
    #expect(
      log.untouchedAtStart.map(\.pages) == expected, "and nothing of memory that others may map")
    try write(block, page: 7)
    #expect(try log.sync() == 1, "what is written later is told")
    #expect(dirtyPages(block) == [7])
    try log.stop()
    #expect(log.untouchedAtStart == [])
  }

  @Test func `memory over a private file is followed too`() throws {
    let path = "/tmp/godwit-private-\(getpid())"
    let file = try #require(fopen(path, "w"))
    defer { unlink(path) }
    ftruncate(fileno(file), 16 * 4096)
    fclose(file)
    let ram = RAMList()
    let mapped = try ram.add(
      name: "image", byteCount: 16 * 4096, backing: .privateFile(path: path))
    let log = WriteProtectLog(ram: ram, reason: "For a test.")
    try log.start()
    _ = try mapped.isZero(offset: 0, byteCount: 8 * 4096)
    #expect(try log.sync() == 0, "reading is no writing")
    try write(mapped, page: 3)
    try write(mapped, page: 12)
    #expect(try log.sync() == 2)
    #expect(dirtyPages(mapped) == [3, 12])
    try log.stop()
  }

  @Test(.timeLimit(.minutes(1)))
  func `a page that is written while its block begins to be followed is never called empty`() throws
  {
    for round in 0..<40 {
      let ram = RAMList()
      // Several page tables, none of which is there yet.
      let block = try ram.add(name: "block", byteCount: 16 << 20)
      try block.setHugePages(false)
      let log = WriteProtectLog(ram: ram, reason: "For a test.")
      let written = Mutex<Set<Int>>([])
      let thread = try NamedThread(name: "writer") {
        var state = UInt32(round)
        for _ in 0..<64 {
          state = state &* 1_664_525 &+ 1_013_904_223
          let page = Int(state >> 8) % block.pageCount
          try? self.write(block, page: page)
          written.withLock { _ = $0.insert(page) }
        }
      }
      try log.start()
      let empty = log.untouchedAtStart.map(\.pages)
      thread.join()
      try log.sync()
      let base = block.ramRange.pages.lowerBound
      let noticed = Set(dirtyPages(block))
      let lost = written.withLock { $0 }.filter { page in
        !noticed.contains(page) && empty.contains { $0.contains(base + page) }
      }
      #expect(lost.isEmpty)
      try log.stop()
    }
  }

  @Test(.timeLimit(.minutes(1))) func `no write of a running thread is lost`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "block", byteCount: 256 * 4096)
    let log = WriteProtectLog(ram: ram, reason: "For a test.")
    try log.start()
    let isEnding = Atomic<Bool>(false)
    let written = Mutex<Set<Int>>([])
    let thread = try NamedThread(name: "writer") {
      var state: UInt32 = 1
      while !isEnding.load(ordering: .acquiring) {
        state = state &* 1_664_525 &+ 1_013_904_223
        let page = Int(state >> 8) % 256
        // In one step: a thread that was held up between the two would note a write that a scan
        // long before has told of.
        written.withLock { pages in
          try? self.write(block, page: page)
          pages.insert(page)
        }
      }
    }
    var reported: Set<Int> = []
    for _ in 0..<50 {
      let before = written.withLock { pages in
        defer { pages = [] }
        return pages
      }
      try log.sync()
      let found = Set(dirtyPages(block))
      // What was written before the scan began is in it, unless an earlier scan had it already.
      #expect(before.isSubset(of: found.union(reported)))
      reported = found
    }
    isEnding.store(true, ordering: .releasing)
    thread.join()
    try log.stop()
  }
}
