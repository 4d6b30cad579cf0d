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
/// everything has come, or before their memory where the source goes over to postcopy.
final class MachineDestination: PostcopyEndpoint {
  private struct Memory {
    var blocks: [RAMBlock] = []
    /// Pages that were written since memory was emptied: all others are zeros already.
    var written: [PageBitmap] = []
    var pending: MachineState.Pending?
    var missing: MissingPages?
  }

  private let ram: RAMList
  private let state: MachineState
  private let memory = Mutex(Memory())
  private let loaded: Mutex<RunState?> = Mutex(nil)
  private let start: @Sendable () throws -> Void
  /// Says whether the balloon may give the guest's memory back to the host.
  private let allowDiscarding: @Sendable (Bool) -> Void

  /// What the machine was doing before it left; nil where it did not say.
  var runState: RunState? { loaded.withLock { $0 } }

  /// - Parameters:
  ///   - ram: the memory of the machine that waits.
  ///   - state: its processors and devices.
  ///   - allowDiscarding: says whether the balloon may give memory back to the host.
  ///   - start: lets it run where it does so before its memory is there.
  init(
    _ ram: RAMList, _ state: MachineState, allowDiscarding: @escaping @Sendable (Bool) -> Void,
    start: @escaping @Sendable () throws -> Void
  ) {
    self.allowDiscarding = allowDiscarding
    self.ram = ram
    self.state = state
    self.start = start
  }

  func prepare(configuration: StreamConfiguration, blocks: [RAMBlockDescription]) throws {
    try Self.check(configuration)
    let matched = try Self.match(blocks, with: ram)
    // A page that never comes is zeros, whatever was put here before the machine came.
    for block in matched { try block.discard(offset: 0, byteCount: block.byteCount) }
    try memory.withLock { memory in
      memory.blocks = matched
      memory.written = matched.map { PageBitmap(pageCount: $0.byteCount / Self.pageByteCount) }
      if memory.missing != nil { memory.missing = try MissingPages(matched) }
    }
  }

  func place(_ page: RAMPageAddress, content: RawSpan) throws {
    let block = memory.withLock { memory in
      _ = memory.written[page.blockIndex].insert(Int(page.offset) / Self.pageByteCount)
      return memory.blocks[page.blockIndex]
    }
    try block.write(offset: Int(page.offset), content)
  }

  func placeZero(_ page: RAMPageAddress) throws {
    let block = memory.withLock { memory -> RAMBlock? in
      memory.written[page.blockIndex].remove(Int(page.offset) / Self.pageByteCount)
        ? memory.blocks[page.blockIndex] : nil
    }
    try block?.discard(offset: Int(page.offset), byteCount: Self.pageByteCount)
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
    let found = try pending.apply()
    loaded.withLock { $0 = found }
  }

  // Running before all of memory is there

  static let pageByteCount = MachineSource.pageByteCount

  var pageByteCount: Int { Self.pageByteCount }

  func advise(_ advice: PostcopyAdvice) throws {
    let own = UInt64(Self.pageByteCount)
    guard advice.targetPageSize == own, advice.pageSizeSummary == own else {
      throw MachineError.refused(
        "the source announces memory in pages of other sizes (the sum of their bits is "
          + "\(advice.pageSizeSummary)) than this machine's \(own) bytes: send it whole, or from a "
          + "machine without huge pages")
    }
    // The blocks are known only later; that the host allows it is found out now.
    let probe = try MissingPages([])
    memory.withLock { $0.missing = probe }
  }

  func discard(_ range: Range<UInt64>, ofBlock index: Int) throws {
    let block = memory.withLock { $0.blocks[index] }
    try block.discard(offset: Int(range.lowerBound), byteCount: range.count)
  }

  func beginServing(_ asking: @escaping @Sendable (RAMPageAddress) -> Bool) throws {
    // A page that is given back is missing again, and the source sends each page once: the guest
    // would wait for it for ever.
    allowDiscarding(false)
    try missing().begin(asking)
  }

  func serve(_ page: RAMPageAddress, content: RawSpan) throws {
    try missing().fill(page, with: content)
  }

  func serveZero(_ page: RAMPageAddress) throws { try missing().fillZero(page) }

  func load(_ state: DeviceState) throws {
    try takeDeviceState(state)
    try complete()
  }

  func run() throws { try start() }

  func endServing() {
    memory.withLock { $0.missing }?.end()
    allowDiscarding(true)
  }

  private func missing() throws(MachineError) -> MissingPages {
    guard let missing = memory.withLock({ $0.missing }) else {
      throw .refused("the source began a postcopy that it had not announced")
    }
    return missing
  }
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
