// A waiting machine as what the receiving engine puts pages and state into.

import GuestMemory
import MigrationCore
import MigrationEngine
import Pager
import Synchronization
import Userfault
import VMState
import Wire

/// Puts a machine that arrives into one that waits for it.
///
/// Memory is filled as pages come, here or by a pager; processors and devices get their state all
/// or nothing, once everything has come, or before their memory where a source goes over to
/// postcopy.
final class MachineDestination: DestinationEndpoint, PagerHost {
  private struct Memory {
    var blocks: [RAMBlock] = []
    /// Pages that were written since memory was emptied: all others are zeros already.
    var written: [PageBitmap] = []
    /// Pages that hold what a machine left here, and that have not come; empty where it is not kept
    /// or a pager knows.
    var leftOver: [PageBitmap] = []
    var pending: MachineState.Pending?
  }

  private let ram: RAMList
  private let state: MachineState
  private let memory = Mutex(Memory())
  private let loaded: Mutex<RunState?> = Mutex(nil)
  private let hooks: Hooks
  /// Whether memory keeps what a machine left here until its pages come: it is known content.
  let keepsMemory: Bool

  /// What the machine does meanwhile.
  struct Hooks: Sendable {
    /// Told before memory is written to for the first time.
    let overwrite: @Sendable () throws -> Void
    /// Says whether the guest's memory may be given back to the host.
    let allowDiscarding: @Sendable (Bool) -> Void
    /// Lets it run where it does so before its memory is there.
    let start: @Sendable () throws -> Void
  }

  static let pageByteCount = MachineSource.pageByteCount
  private static let zeroPage = [UInt8](repeating: 0, count: pageByteCount)

  /// What the machine was doing before it left; nil where it did not say.
  var runState: RunState? { loaded.withLock { $0 } }

  /// - Parameters:
  ///   - ram: the memory of the machine that waits.
  ///   - state: its processors and devices.
  ///   - keepsMemory: whether memory keeps what a machine left here until its pages come.
  ///   - hooks: what the machine does meanwhile.
  init(_ ram: RAMList, _ state: MachineState, keepsMemory: Bool = false, hooks: Hooks) {
    self.ram = ram
    self.state = state
    self.keepsMemory = keepsMemory
    self.hooks = hooks
  }

  func prepare(configuration: StreamConfiguration, blocks: [RAMBlockDescription]) throws {
    try Self.check(configuration)
    let matched = try Self.match(blocks, with: ram)
    try hooks.overwrite()
    // A page that never comes is zeros, whatever was put here before the machine came.
    if !keepsMemory {
      for block in matched { try block.discard(offset: 0, byteCount: block.byteCount) }
    }
    memory.withLock { memory in
      memory.blocks = matched
      memory.written = matched.map { PageBitmap(pageCount: $0.byteCount / Self.pageByteCount) }
      memory.leftOver = keepsMemory ? memory.written.map(PageBitmap.init(complementOf:)) : []
    }
  }

  func place(_ page: RAMPageAddress, content: RawSpan) throws {
    let block = memory.withLock { memory in
      let number = Int(page.offset) / Self.pageByteCount
      _ = memory.written[page.blockIndex].insert(number)
      if keepsMemory { memory.leftOver[page.blockIndex].remove(number) }
      return memory.blocks[page.blockIndex]
    }
    try block.write(offset: Int(page.offset), content)
  }

  func placeZero(_ page: RAMPageAddress) throws {
    let block = memory.withLock { memory -> RAMBlock? in
      let number = Int(page.offset) / Self.pageByteCount
      let wasWritten = memory.written[page.blockIndex].remove(number)
      let isLeftOver = keepsMemory && memory.leftOver[page.blockIndex].remove(number)
      return wasWritten || isLeftOver ? memory.blocks[page.blockIndex] : nil
    }
    guard let block else { return }
    if block.pageSize == Self.pageByteCount {
      try block.discard(offset: Int(page.offset), byteCount: Self.pageByteCount)
    } else {
      // A part of a huge page cannot be given back.
      // SAFETY: every byte of the array can be read as one.
      try block.write(offset: Int(page.offset), unsafe Self.zeroPage.span.bytes)
    }
  }

  func read(_ page: RAMPageAddress, into buffer: inout [UInt8]) throws {
    let block = memory.withLock { $0.blocks[page.blockIndex] }
    var span = buffer.mutableSpan
    // SAFETY: every bit pattern that is written is a valid byte.
    var room = unsafe span.mutableBytes
    try block.read(offset: Int(page.offset), into: &room)
  }

  func takeDeviceState(_ state: DeviceState) throws {
    let pending = try self.state.prepare(state)
    memory.withLock { $0.pending = pending }
  }

  func complete() throws {
    guard let pending = memory.withLock({ $0.pending.take() }) else { return }
    try emptyLeftOvers()
    let found = try pending.apply()
    loaded.withLock { $0 = found }
  }
}

// What a machine left here
extension MachineDestination {
  /// Has pages that never came be zeros.
  private func emptyLeftOvers() throws {
    let (blocks, leftOver) = memory.withLock { memory in
      defer { memory.leftOver = [] }
      return (memory.blocks, memory.leftOver)
    }
    for (block, pages) in zip(blocks, leftOver) {
      for run in pages.runs(in: 0..<pages.pageCount) {
        try block.discard(
          offset: run.lowerBound * Self.pageByteCount, byteCount: run.count * Self.pageByteCount)
      }
    }
  }
}

// Received by a pager
extension MachineDestination {
  /// Memory as a pager is given it: shared from now on.
  static func sharedBlocks(of ram: RAMList) throws -> [SharedBlock] {
    try ram.blocks.filter(\.isMigratable).map { block in
      try block.share()
      guard let descriptor = try block.duplicateDescriptor() else {
        throw MachineError.refused(
          "the memory of RAM block '\(block.name)' cannot be filled while the machine runs, since "
            + "no other process can map it: send the machine whole")
      }
      return SharedBlock(
        name: block.name, byteCount: block.byteCount, pageSize: block.pageSize,
        hostAddress: block.hostAddress, descriptor: descriptor)
    }
  }

  func prepare(
    configuration: StreamConfiguration, blocks: [RAMBlockDescription]
  ) throws -> [Int] {
    try prepare(configuration: configuration, blocks: blocks) as Void
    let own = ram.blocks.filter(\.isMigratable)
    return memory.withLock { memory in
      // The pager knows what has come.
      memory.leftOver = []
      return memory.blocks.map { block in own.firstIndex { $0 === block } ?? own.count }
    }
  }

  func beginServing(_ userfault: Userfault) throws {
    // A page that is given back is missing again, and the source sends each page once: the guest
    // would wait for it for ever.
    hooks.allowDiscarding(false)
    for block in memory.withLock({ $0.blocks }) {
      try userfault.register(block.hostRange, modes: [.missing, .minor])
      // What this process has mapped it would not be asked for.
      try block.unmapPages()
    }
  }

  func load(_ state: DeviceState) throws {
    try takeDeviceState(state)
    try complete()
  }

  func run() throws { try hooks.start() }

  func endServing(_ userfault: Userfault) {
    for block in memory.withLock({ $0.blocks }) {
      // What cannot be unregistered was never registered.
      try? userfault.unregister(block.hostRange)
    }
    hooks.allowDiscarding(true)
  }
}

extension RAMBlock {
  /// Its addresses in this process.
  fileprivate var hostRange: Range<UInt> { hostAddress..<hostAddress + UInt(byteCount) }
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
