// Endpoints that hold a small machine in memory, and fail where a test tells them to.

import MigrationCore
import MigrationEngine
import Simulation
import Synchronization
import Wire

struct Refused: Error, CustomStringConvertible {
  let description: String
}

/// Gives the machine of a simulation.
final class MemorySource: SourceEndpoint {
  let model: ModelMachine
  let damaged: Set<RAMPageAddress>
  let demandOrder: DemandOrder
  let omittedBlocks: Set<Int>

  init(
    _ model: ModelMachine, damaged: Set<RAMPageAddress> = [],
    demandOrder: DemandOrder = DemandOrder(), omittedBlocks: Set<Int> = []
  ) {
    self.model = model
    self.damaged = damaged
    self.demandOrder = demandOrder
    self.omittedBlocks = omittedBlocks
  }

  var configuration: StreamConfiguration {
    StreamConfiguration(
      machine: "pc-q35-10.0", targetPageBits: UInt32(targetPageSize.trailingZeroBitCount))
  }
  var blocks: [RAMBlockDescription] { model.blocks }
  var targetPageSize: Int { model.targetPageSize }
  var ramSectionID: UInt32 { model.ramSectionID }
  var deviceState: DeviceState { model.deviceState }

  func read(
    _ page: RAMPageAddress, byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws -> PageContent {
    if damaged.contains(page) { throw Refused(description: "damaged") }
    var isZero = true
    for offset in stride(from: 0, to: byteCount, by: targetPageSize) {
      let target = RAMPageAddress(
        blockIndex: page.blockIndex, offset: page.offset + UInt64(offset))
      let room = UnsafeMutableRawBufferPointer(
        rebasing: buffer[offset..<offset + targetPageSize])
      if let content = model.content(target) {
        isZero = false
        room.copyBytes(from: content)
      } else {
        room.initializeMemory(as: UInt8.self, repeating: 0)
      }
    }
    return isZero ? .zero : .data
  }
}

/// Keeps a machine, or refuses to at a chosen point.
final class MemoryDestination: DestinationEndpoint {
  enum Failure { case prepare, place, deviceState, complete }

  /// What was kept, for the test's thread to read once the engine is through.
  struct Kept: Sendable {
    var machine: String?
    var memory: [RAMPageAddress: [UInt8]] = [:]
    var deviceState: DeviceState?
    var isComplete = false
  }

  private let kept: SharedKept
  private let failure: Failure?

  init(_ kept: SharedKept, failure: Failure? = nil) {
    self.kept = kept
    self.failure = failure
  }

  func prepare(configuration: StreamConfiguration, blocks: [RAMBlockDescription]) throws {
    if failure == .prepare { throw Refused(description: "no room") }
    kept.change { $0.machine = configuration.machine }
  }

  func place(_ page: RAMPageAddress, content: RawSpan) throws {
    if failure == .place { throw Refused(description: "no room") }
    let bytes = content.withUnsafeBytes { Array($0) }
    kept.change { $0.memory[page] = bytes }
  }

  func placeZero(_ page: RAMPageAddress) throws {
    kept.change { $0.memory[page] = nil }
  }

  func read(_ page: RAMPageAddress, into buffer: inout [UInt8]) throws {
    let content = kept.value.memory[page] ?? [UInt8](repeating: 0, count: buffer.count)
    buffer = content
  }

  func takeDeviceState(_ state: DeviceState) throws {
    if failure == .deviceState { throw Refused(description: "no room") }
    kept.change { $0.deviceState = state }
  }

  func complete() throws {
    if failure == .complete { throw Refused(description: "no room") }
    kept.change { $0.isComplete = true }
  }
}

/// What a destination keeps, shared between its thread and the test's.
final class SharedKept: Sendable {
  private let kept = Mutex(MemoryDestination.Kept())

  var value: MemoryDestination.Kept { kept.withLock { $0 } }

  func change(_ body: (inout MemoryDestination.Kept) -> Void) { kept.withLock { body(&$0) } }

  /// Pages that are not all zero.
  var memory: [RAMPageAddress: [UInt8]] {
    value.memory.filter { $0.value.contains { $0 != 0 } }
  }
}

extension ModelMachine {
  /// Its pages that are not all zero.
  var memory: [RAMPageAddress: [UInt8]] {
    var memory: [RAMPageAddress: [UInt8]] = [:]
    for (index, block) in blocks.enumerated() {
      for offset in stride(from: 0, to: block.usedLength, by: targetPageSize) {
        let page = RAMPageAddress(blockIndex: index, offset: offset)
        memory[page] = content(page)
      }
    }
    return memory
  }
}

extension DestinationOptions {
  /// A model machine's small pages, in small reads, before or after it runs.
  static var takingPostcopy: DestinationOptions {
    var options = DestinationOptions()
    options.decoder.targetPageSize = 1024
    options.readByteCount = 4096
    options.takesPostcopy = true
    return options
  }
}
