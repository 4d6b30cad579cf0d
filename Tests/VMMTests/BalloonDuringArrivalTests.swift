// A balloon in a machine that runs before its memory is there.

import Devices
import GuestMemory
import MigrationCore
import Pager
import Synchronization
import Testing
import Userfault
import VMState
import Wire

@testable import VMM

@Suite struct `A balloon while pages arrive` {
  /// Processors that are never run.
  private final class Stand: AcceleratorState {
    let kind = AcceleratorKind.kvm
    let processorCount = 1
    let limitsDirtyRate = false
    func throttle(_ throttle: Throttle?) {}
    let threadIdentifiers: [Int32] = []
    let vmstateSections: [any VMStateSection] = []

    func resume() {}
    func pause() {}
    func reset(to start: ProcessorStart) throws(MachineError) {}
    func end() {}
  }

  @Test(.enabled(if: PagerSession.isOffered, "this user may not have a userfaultfd"))
  func `gives nothing back until all of them are there`() throws {
    var configuration = MachineConfiguration(memoryByteCount: 8 << 20)
    configuration.incoming = .deferred
    configuration.sharesMemory = true
    let parts = try MachineParts(
      configuration, line: { _ in InterruptLine { _ in } },
      post: { _ in })
    let said = Mutex<[Bool]>([])
    let destination = MachineDestination(
      parts.ram, MachineState(of: parts, Stand()),
      hooks: MachineDestination.Hooks(
        overwrite: {}, allowDiscarding: { isAllowed in said.withLock { $0.append(isAllowed) } },
        start: {}))
    let userfault = try Userfault(features: PagerSession.features)
    let order: [Int] = try destination.prepare(
      configuration: MachineSource.configuration,
      blocks: parts.ram.blocks.filter(\.isMigratable).map {
        RAMBlockDescription(name: $0.name, usedLength: UInt64($0.byteCount))
      })
    #expect(order == [0])
    #expect(said.withLock { $0 }.isEmpty)
    try destination.beginServing(userfault)
    #expect(said.withLock { $0 } == [false])
    destination.endServing(userfault)
    #expect(said.withLock { $0 } == [false, true])
  }
}
