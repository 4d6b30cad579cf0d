// Machines that are nothing but memory, so that a move costs what its engines cost.

import MigrationCore
import MigrationEngine
import Synchronization
import Wire

/// Memory as a fresh machine has it: nothing is there before it is touched.
@safe
final class BenchMemory: @unchecked Sendable {
  static let pageByteCount = 4096

  let byteCount: Int
  private let memory: UnsafeMutableRawBufferPointer

  init(megabytes: Int) {
    byteCount = megabytes << 20
    // SAFETY: freed in deinit only.
    unsafe memory = .allocate(byteCount: byteCount, alignment: 4096)
  }

  deinit { unsafe memory.deallocate() }

  /// How many pages there are.
  var pageCount: Int { byteCount / Self.pageByteCount }

  /// A page in place.
  func page(_ offset: UInt64) -> UnsafeMutableRawBufferPointer {
    let start = Int(offset)
    // SAFETY: slicing checks the range.
    return unsafe UnsafeMutableRawBufferPointer(
      rebasing: memory[start..<start + Self.pageByteCount])
  }

  /// Fills pages with noise that follows from the seed and the page.
  func fill(seed: UInt64, where isWanted: (Int) -> Bool = { _ in true }) {
    for index in 0..<pageCount where isWanted(index) {
      var state = (seed &+ UInt64(index)) &* 0x9e37_79b9_7f4a_7c15 | 1
      let room = unsafe page(UInt64(index * Self.pageByteCount))
      for offset in stride(from: 0, to: Self.pageByteCount, by: 8) {
        state ^= state << 13
        state ^= state >> 7
        state ^= state << 17
        // SAFETY: the offset is inside the page.
        unsafe room.storeBytes(of: state, toByteOffset: offset, as: UInt64.self)
      }
    }
  }

  /// Whether both hold the same.
  func equals(_ other: BenchMemory) -> Bool {
    unsafe memory.elementsEqual(other.memory)
  }

  /// Lends all of it.
  func withBytes<R>(_ body: (UnsafeRawBufferPointer) throws -> R) rethrows -> R {
    // SAFETY: the memory outlives the call.
    try unsafe body(UnsafeRawBufferPointer(memory))
  }

  static let devices: DeviceState = {
    var encoder = StreamEncoder()
    try? encoder.appendFullSection(
      SectionHeader(id: 9, name: "d", instanceID: 0, versionID: 1), payload: [7])
    return DeviceState(bytes: encoder.buffer, description: Array("{}".utf8))
  }()
}

/// Gives such a machine, which writes nothing.
final class BenchSource: LiveSourceEndpoint {
  private let memory: BenchMemory
  private let next = Atomic<Int>(0)
  /// What has to go once more: a prefix may be another page's, too.
  private let again = Mutex<[RAMPageRun]>([])

  init(_ memory: BenchMemory) { self.memory = memory }

  var configuration: StreamConfiguration {
    StreamConfiguration(machine: "bench", targetPageBits: 12)
  }
  var blocks: [RAMBlockDescription] {
    [RAMBlockDescription(name: "ram", usedLength: UInt64(memory.byteCount))]
  }
  var targetPageSize: Int { BenchMemory.pageByteCount }
  var ramSectionID: UInt32 { 2 }
  var deviceState: DeviceState { BenchMemory.devices }

  func beginRounds() throws {}
  func sync() throws -> UInt64 { 0 }
  var remainingByteCount: UInt64 {
    UInt64(memory.byteCount - next.load(ordering: .relaxed))
      + again.withLock { $0.reduce(0) { $0 + $1.byteCount } }
  }
  var excludedByteCount: UInt64 { 0 }
  func excludedRuns() -> [RAMPageRun] { [] }

  func nextRun(limit: Int) throws -> RAMPageRun? {
    let start = next.load(ordering: .relaxed)
    guard start < memory.byteCount else { return again.withLock { $0.popLast() } }
    let count = min(limit, memory.byteCount - start)
    next.store(start + count, ordering: .relaxed)
    return RAMPageRun(
      start: RAMPageAddress(blockIndex: 0, offset: UInt64(start)), byteCount: UInt64(count))
  }

  func lend(_ page: RAMPageAddress) -> LentPage {
    let content = unsafe UnsafeRawBufferPointer(memory.page(page.offset))
    var offset = 0
    while offset < BenchMemory.pageByteCount {
      // SAFETY: the offset is inside the page.
      if unsafe content.loadUnaligned(fromByteOffset: offset, as: UInt64.self) != 0 { break }
      offset += 8
    }
    return offset == BenchMemory.pageByteCount ? .zero : unsafe .data(content)
  }

  func putBack(_ run: RAMPageRun) { again.withLock { $0.append(run) } }
  func throttle(_ throttle: Throttle?) {}
  func pause() throws {}
  func takeDeviceState() throws -> DeviceState { BenchMemory.devices }
  func endRounds() {}

  func read(
    _ page: RAMPageAddress, byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws -> PageContent {
    unsafe buffer.copyMemory(from: UnsafeRawBufferPointer(memory.page(page.offset)))
    return .data
  }
}

/// Takes such a machine.
final class BenchDestination: DestinationEndpoint {
  private let memory: BenchMemory

  init(_ memory: BenchMemory) { self.memory = memory }

  func prepare(configuration: StreamConfiguration, blocks: [RAMBlockDescription]) throws {}

  func place(_ page: RAMPageAddress, content: RawSpan) throws {
    unsafe content.withUnsafeBytes { unsafe memory.page(page.offset).copyMemory(from: $0) }
  }

  func placeZero(_ page: RAMPageAddress) throws {}
  func read(_ page: RAMPageAddress, into buffer: inout [UInt8]) throws {}
  func takeDeviceState(_ state: DeviceState) throws {}
  func complete() throws {}
}
