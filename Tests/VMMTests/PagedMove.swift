// A stopped machine that is sent by postcopy, as often as a test likes, into machines whose pagers
// the test kills.

import Foundation
import GuestMemory
import MigrationEngine
import Pager
import QMP
import Synchronization
import Testing
import Transport
import Wire

@testable import VMM

/// A machine at rest, to be sent page by page.
final class PagedMove {
  let source: MovingMachine
  private let state: DeviceState

  init(usesHugePages: Bool = false) throws {
    source = try MovingMachine(usesHugePages: usesHugePages)
    try source.requireHealth()
    try source.machine.stop()
    let mover = try #require(source.machine.migration as? MachineMover)
    state = try mover.machineState.save(as: .running)
  }

  /// Sends it, or what is missing of it, on a thread of its own; the end is seen at the target.
  ///
  /// - Parameters:
  ///   - megabytesPerSecond: how fast what nobody asks for goes out.
  ///   - preempts: whether requested pages go over a connection of their own.
  func send(
    to target: MovingMachine, _ plan: SourcePlan, megabytesPerSecond: Int, preempts: Bool = false
  ) throws -> NamedThread {
    var options = SourceOptions()
    options.bandwidthLimit = UInt64(megabytesPerSecond) << 20
    let address = try MigrationURI(target.listeningAddress)
    if preempts { options.openPreemptChannel = { try ByteChannel.connect(to: address) } }
    let engine = SourceEngine(
      channel: try ByteChannel.connect(to: address),
      endpoint: try RestingMachine(source, state), plan: plan, options: options)
    return try NamedThread(name: "source") { _ = try? engine.run() }
  }
}

/// A machine that stands still, as what the sending engine reads.
private final class RestingMachine: SourceEndpoint {
  let configuration = MachineSource.configuration
  let targetPageSize = MachineSource.pageByteCount
  let ramSectionID = MachineSource.ramSectionID
  let blocks: [RAMBlockDescription]
  let deviceState: DeviceState
  private let memory: RAMBlock

  init(_ machine: MovingMachine, _ state: DeviceState) throws {
    memory = try #require(machine.machine.ram.blocks.first)
    deviceState = state
    blocks = [
      RAMBlockDescription(
        name: memory.name, usedLength: UInt64(memory.byteCount),
        pageSize: memory.pageSize > MachineSource.pageByteCount ? UInt64(memory.pageSize) : nil)
    ]
  }

  func read(
    _ page: RAMPageAddress, byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
  ) throws -> PageContent {
    let offset = Int(page.offset)
    if try memory.isZero(offset: offset, byteCount: byteCount) { return .zero }
    try memory.withBytes(offset: offset, byteCount: byteCount) {
      (bytes) throws(GuestMemoryError) in bytes.withUnsafeBytes { buffer.copyMemory(from: $0) }
    }
    return .data
  }
}

extension MovingMachine {
  /// The pager of a machine that arrives; nil where there is none just now.
  var pager: Int32? {
    let mover = machine.migration as? MachineMover
    return (mover?.update { $0.receiver } as? PagerSession)?.processIdentifier
  }

  /// Kills the pager as the kernel would; says whether there was one.
  func killPager() -> Bool {
    guard let pager else { return false }
    return kill(pager, SIGKILL) == 0
  }

  var migrationStatus: QMP.MigrationStatus { machine.migration.account.status }

  /// Waits for a new link, and says where.
  func recover() throws {
    try machine.migration.recover(
      from: .address(MigrationURI("unix:" + MovingMachine.path("sock"))))
  }

  /// Waits for one of some states.
  func require(_ states: QMP.MigrationStatus...) throws {
    let end = ContinuousClock.now + .seconds(40)
    while !states.contains(migrationStatus) {
      guard ContinuousClock.now < end else { throw Stuck(account: machine.migration.account) }
      usleep(2000)
    }
  }

  private struct Stuck: Error {
    let account: MigrationAccount
  }
}
