// Pages that need not travel, inside of larger ones that are sent whole.

import GuestMemory
import MigrationEngine
import Testing
import Wire

@testable import VMM

struct LeftOutPagesTests {
  private static let hugeByteCount = 2 << 20

  private let block: RAMBlock
  private let excluded: ExcludedPages
  private let source: MachineSource

  /// 4 MiB of sevens, which stand still.
  init() throws {
    let ram = RAMList()
    block = try ram.add(name: "pc.ram", byteCount: 2 * Self.hugeByteCount)
    let seven = [UInt8](repeating: 7, count: 4096)
    for page in 0..<block.pageCount { try block.write(offset: page * 4096, seven.span.bytes) }
    excluded = ExcludedPages(of: ram)
    excluded.beginMove(nil)
    source = MachineSource(
      ram,
      MachineSource.Hooks(
        log: DirtyLogLease(SilentLog()), freeze: { .paused },
        save: { _ in DeviceState(bytes: [], description: nil) }, throttle: { _ in },
        excluded: excluded))
  }

  /// A log that notices nothing.
  private final class SilentLog: DirtyLog {
    let name = "silent"
    let reason = "It is for a test."
    func start() throws(GuestMemoryError) {}
    func sync() throws(GuestMemoryError) -> Int { 0 }
    func willSend(_ range: RAMRange) throws(GuestMemoryError) {}
    func stop() throws(GuestMemoryError) {}
  }

  private func leaveOut(_ pages: Range<Int>) {
    excluded.hint(block.ramRange(offset: pages.lowerBound * 4096, byteCount: pages.count * 4096))
  }

  /// Reads a huge page as it is sent; nil for zeros.
  private func read(_ page: Int) throws -> [UInt8]? {
    var bytes = [UInt8](repeating: 1, count: Self.hugeByteCount)
    let address = RAMPageAddress(blockIndex: 0, offset: UInt64(page * Self.hugeByteCount))
    let content = try bytes.withUnsafeMutableBytes {
      try source.read(address, byteCount: Self.hugeByteCount, into: $0)
    }
    return content == .zero ? nil : bytes
  }

  /// Expects a huge page of sevens but for zeros in some of its pages.
  private func expect(_ page: Int, zerosAt pages: [Int]) throws {
    let bytes = try #require(try read(page))
    for index in 0..<512 {
      let value: UInt8 = pages.contains(index) ? 0 : 7
      #expect(bytes[index * 4096..<(index + 1) * 4096].allSatisfy { $0 == value }, "page \(index)")
    }
  }

  @Test(arguments: [false, true])
  func `a huge page of which a part is left out goes with the rest, and nothing of that part`(
    isRecovery: Bool
  ) throws {
    // The first page of the first huge page, some in it, and the last of the second.
    for pages in [0..<1, 60..<70, 511..<512, 1023..<1024] { leaveOut(pages) }
    if isRecovery {
      // What was left out is remembered when the move's rounds are over.
      try source.beginRoundsAgain(excluded)
      for pages in [0..<1, 60..<70, 511..<512, 1023..<1024] { leaveOut(pages) }
      source.endRounds()
      #expect(excluded.leftOutPageCount == 0)
    }
    try expect(0, zerosAt: [0] + Array(60..<70) + [511])
    try expect(1, zerosAt: [511])
  }

  @Test func `a huge page that is left out whole is zeros, and known to be`() throws {
    leaveOut(512..<1024)
    #expect(try read(1) == nil)
    let size = Self.hugeByteCount
    #expect(
      source.isKnownZero(RAMPageAddress(blockIndex: 0, offset: UInt64(size)), byteCount: size))
    try expect(0, zerosAt: [])
    leaveOut(0..<511)
    #expect(!source.isKnownZero(RAMPageAddress(blockIndex: 0, offset: 0), byteCount: size))
    try expect(0, zerosAt: Array(0..<511))
  }
}

extension MachineSource {
  /// Begins the rounds of a move for which pages were left out by hand before.
  fileprivate func beginRoundsAgain(_ excluded: ExcludedPages) throws {
    excluded.endMove()
    try beginRounds()
  }
}
