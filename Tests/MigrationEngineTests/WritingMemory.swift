// A small machine of 4 KiB pages that is moved while something writes to it.

import MigrationCore
import MigrationEngine
import Simulation
import Synchronization
import Wire

/// Memory with a dirty log, for the engine that moves running machines.
final class WritingMemory: LiveSourceEndpoint, @unchecked Sendable {
  private struct State {
    var left: [Set<Int>] = []
    var dirty: [Set<Int>] = []
    var isPaused = false
    var isTracked = false
  }

  static let size = 4096
  private static let zeros = [UInt8](repeating: 0, count: size)

  let blocks: [RAMBlockDescription]
  private let memory: [UnsafeMutableRawBufferPointer]
  private let state = Mutex(State())
  /// Called for each page that is taken out to be sent, before it is looked at.
  let onSend: @Sendable (WritingMemory) -> Void
  /// Called when the state of the devices is taken.
  let onTakingState: @Sendable () -> Void

  init(
    pageCounts: [Int], onSend: @escaping @Sendable (WritingMemory) -> Void = { _ in },
    onTakingState: @escaping @Sendable () -> Void = {},
    _ content: (RAMPageAddress) -> [UInt8]?
  ) {
    self.onSend = onSend
    self.onTakingState = onTakingState
    blocks = pageCounts.enumerated().map { index, count in
      RAMBlockDescription(name: "block\(index)", usedLength: UInt64(count * Self.size))
    }
    memory = pageCounts.map {
      let room = UnsafeMutableRawBufferPointer.allocate(byteCount: $0 * Self.size, alignment: 4096)
      room.initializeMemory(as: UInt8.self, repeating: 0)
      return room
    }
    for (index, count) in pageCounts.enumerated() {
      for page in 0..<count {
        let address = RAMPageAddress(blockIndex: index, offset: UInt64(page * Self.size))
        if let bytes = content(address) { room(address).copyBytes(from: bytes) }
      }
    }
  }

  deinit { for room in memory { room.deallocate() } }

  private func room(_ page: RAMPageAddress) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      rebasing: memory[page.blockIndex][Int(page.offset)..<Int(page.offset) + Self.size])
  }

  /// The machine writes a page, unless it stands.
  func write(_ page: RAMPageAddress, _ content: [UInt8]) {
    state.withLock { state in
      guard !state.isPaused else { return }
      room(page).copyBytes(from: content)
      if state.isTracked { state.dirty[page.blockIndex].insert(Int(page.offset) / Self.size) }
    }
  }

  /// Pages that are not all zero.
  var content: [RAMPageAddress: [UInt8]] {
    var found: [RAMPageAddress: [UInt8]] = [:]
    for index in blocks.indices {
      for offset in stride(from: 0, to: blocks[index].usedLength, by: Self.size) {
        let page = RAMPageAddress(blockIndex: index, offset: offset)
        let bytes = Array(room(page))
        if bytes != Self.zeros { found[page] = bytes }
      }
    }
    return found
  }

  // MARK: What the engine asks

  var configuration: StreamConfiguration {
    StreamConfiguration(machine: "m", targetPageBits: 12)
  }
  var targetPageSize: Int { Self.size }
  var ramSectionID: UInt32 { 2 }
  var deviceState: DeviceState { Self.devices }

  static let devices: DeviceState = {
    var encoder = StreamEncoder()
    try? encoder.appendFullSection(
      SectionHeader(id: 9, name: "d", instanceID: 0, versionID: 1), payload: [7])
    return DeviceState(bytes: encoder.buffer, description: Array("{}".utf8))
  }()

  func beginRounds() throws {
    state.withLock { state in
      state.isTracked = true
      state.left = blocks.map { Set(0..<Int($0.usedLength) / Self.size) }
      state.dirty = blocks.map { _ in [] }
    }
  }

  func sync() throws -> UInt64 {
    state.withLock { state in
      var count = 0
      for index in blocks.indices {
        count += state.dirty[index].subtracting(state.left[index]).count
        state.left[index].formUnion(state.dirty[index])
        state.dirty[index] = []
      }
      return UInt64(count * Self.size)
    }
  }

  var remainingByteCount: UInt64 {
    state.withLock { state in UInt64(state.left.reduce(0) { $0 + $1.count } * Self.size) }
  }

  var excludedByteCount: UInt64 { 0 }

  func excludedRuns() -> [RAMPageRun] { [] }

  func nextRun(limit: Int) throws -> RAMPageRun? {
    onSend(self)
    return state.withLock { state in
      for index in state.left.indices {
        guard let first = state.left[index].min() else { continue }
        var count = 0
        while count < max(1, min(limit / Self.size, 20)),
          state.left[index].remove(first + count) != nil
        {
          count += 1
        }
        return RAMPageRun(
          start: RAMPageAddress(blockIndex: index, offset: UInt64(first * Self.size)),
          byteCount: UInt64(count * Self.size))
      }
      return nil
    }
  }

  func lend(_ page: RAMPageAddress) -> LentPage {
    let content = room(page)
    return Array(content) == Self.zeros ? .zero : .data(UnsafeRawBufferPointer(content))
  }

  func putBack(_ run: RAMPageRun) {
    state.withLock { state in
      let first = Int(run.start.offset) / Self.size
      for page in first..<first + Int(run.byteCount) / Self.size {
        state.left[run.start.blockIndex].insert(page)
      }
    }
  }

  func throttle(_ throttle: Throttle?) {}

  func pause() throws { state.withLock { $0.isPaused = true } }

  func takeDeviceState() throws -> DeviceState {
    onTakingState()
    return Self.devices
  }

  func endRounds() { state.withLock { $0.isTracked = false } }

  func read(
    _ page: RAMPageAddress, byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws -> PageContent {
    let content = room(page)
    buffer.copyBytes(from: content)
    return Array(content) == Self.zeros ? .zero : .data
  }
}
