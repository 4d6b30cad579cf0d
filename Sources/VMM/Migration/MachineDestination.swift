// A waiting machine as what the receiving engine puts pages and state into.

import GuestMemory
import MigrationCore
import MigrationEngine
import Synchronization
import VMState
import Wire

/// Puts a machine that arrives into one that waits for it.
///
/// Memory is filled as pages come; processors and devices get their state all or nothing, once
/// everything has come.
final class MachineDestination: DestinationEndpoint {
  private let ram: RAMList
  private let state: MachineState
  private let outcome: MachineArrival
  private var blocks: [RAMBlock] = []
  /// Pages that were written since memory was emptied: all others are zeros already.
  private var written: [PageBitmap] = []
  private var pending: MachineState.Pending?

  /// - Parameters:
  ///   - ram: the memory of the machine that waits.
  ///   - state: its processors and devices.
  ///   - outcome: is told what the arrived machine was doing.
  init(_ ram: RAMList, _ state: MachineState, telling outcome: MachineArrival) {
    self.ram = ram
    self.state = state
    self.outcome = outcome
  }

  func prepare(configuration: StreamConfiguration, blocks: [RAMBlockDescription]) throws {
    try Self.check(configuration)
    self.blocks = try Self.match(blocks, with: ram)
    written = self.blocks.map { PageBitmap(pageCount: $0.byteCount / Self.pageByteCount) }
    // A page that never comes is zeros, whatever was put here before the machine came.
    for block in self.blocks { try block.discard(offset: 0, byteCount: block.byteCount) }
  }

  func place(_ page: RAMPageAddress, content: RawSpan) throws {
    let block = blocks[page.blockIndex]
    try block.write(offset: Int(page.offset), content)
    _ = written[page.blockIndex].insert(Int(page.offset) / Self.pageByteCount)
  }

  func placeZero(_ page: RAMPageAddress) throws {
    guard written[page.blockIndex].remove(Int(page.offset) / Self.pageByteCount) else { return }
    try blocks[page.blockIndex].discard(
      offset: Int(page.offset), byteCount: Self.pageByteCount)
  }

  func read(_ page: RAMPageAddress, into buffer: inout [UInt8]) throws {
    let block = blocks[page.blockIndex]
    var span = buffer.mutableSpan
    // SAFETY: every bit pattern that is written is a valid byte.
    var room = unsafe span.mutableBytes
    try block.read(offset: Int(page.offset), into: &room)
  }

  func takeDeviceState(_ state: DeviceState) throws {
    pending = try self.state.prepare(state)
  }

  func complete() throws {
    guard let pending else { return }
    outcome.set(try pending.apply())
  }

  private static let pageByteCount = MachineSource.pageByteCount
}

/// What a machine that has arrived was doing before it left.
final class MachineArrival: Sendable {
  private let state = Mutex<RunState?>(nil)

  /// Nil where the machine did not say, as one that was sent by something else may.
  var runState: RunState? { state.withLock { $0 } }

  func set(_ runState: RunState?) { state.withLock { $0 = runState } }
}

// What fits and what does not.
extension MachineDestination {
  /// Refuses a machine of another type.
  static func check(_ configuration: StreamConfiguration) throws(MachineError) {
    guard configuration.machine == Machine.typeName else {
      throw .refused(
        "a machine of type '\(configuration.machine)' comes, and this one is of type "
          + "'\(Machine.typeName)': send it to a machine of its own type")
    }
    let bits = UInt32(pageByteCount.trailingZeroBitCount)
    if let found = configuration.targetPageBits, found != bits {
      throw .refused(
        "a machine with pages of 2^\(found) bytes comes, and this one's have 2^\(bits)")
    }
    if let name = configuration.capabilities?.first {
      throw .refused(
        "the machine was sent with the capability '\(name)', which this machine does not have: "
          + "turn it off at the source")
    }
  }

  /// The blocks here that those of the stream go into, in the stream's order.
  static func match(
    _ announced: [RAMBlockDescription], with ram: RAMList
  ) throws(MachineError) -> [RAMBlock] {
    let own = ram.blocks.filter(\.isMigratable)
    var matched: [RAMBlock] = []
    for block in announced {
      guard let here = own.first(where: { $0.name == block.name }) else {
        throw .refused(
          "the machine that comes has a RAM block '\(block.name)', which this machine lacks (it "
            + "has \(own.map(\.name).joined(separator: ", "))): start it as the other was started")
      }
      guard block.usedLength == UInt64(here.byteCount) else {
        throw .refused(
          "the RAM block '\(block.name)' has \(block.usedLength >> 20) MiB in the machine that "
            + "comes and \(here.byteCount >> 20) MiB in this one: start it with --memory "
            + "\(block.usedLength >> 20)M")
      }
      guard !matched.contains(where: { $0 === here }) else {
        throw .refused("the machine that comes has two RAM blocks named '\(block.name)'")
      }
      matched.append(here)
    }
    if let left = own.first(where: { block in !matched.contains { $0 === block } }) {
      throw .refused(
        "this machine has a RAM block '\(left.name)' that the machine that comes lacks: start it "
          + "as the other was started")
    }
    return matched
  }
}
