// A machine that is nothing but what the control plane asks of it, for tests.

import Devices
import GuestMemory
import QMP
import Synchronization

@testable import VMM

/// A machine of a few pages whose contents are known, that does at once what it is told.
///
/// Its memory: RAM from 0 to 640 KiB and from 1 MiB to 2 MiB, a ROM of 64 KiB below 4 GiB, and
/// registers of a device between them. A byte of RAM is its address, shortened; a byte of ROM 0xA5.
final class ScriptedMachine: MachineControl {
  struct State {
    var run = VMM.RunState.running
    var observers: [@Sendable (MachineEvent) -> Void] = []
    var balloon: UInt64? = 1 << 20
    var pollInterval: Duration?
    var statistics: BalloonStatistics?
    var source = "bitmap"
    var end: MachineEvent.ShutdownReason?
    /// Added to what memory holds: the guest's writing.
    var offset: UInt8 = 0
    var failsToRead = false
    /// How often memory is read before the guest rewrites all of it; nil for never.
    var readsBeforeChange: Int?
  }

  let state = Mutex(State())
  let mover = ScriptedMigration()
  var migration: any MachineMigration { mover }

  let facts = MachineFacts(
    name: "scripted", uuid: "8fe54a5c-6c04-4a5d-9b5b-4ae5a6f0d1e2", machineType: "scripted-1",
    accelerator: .kvm, processorLimit: 4, mainMemoryBlock: "ram", memoryByteCount: 0x1A0000)

  static let map = [
    MappedRange(start: 0, byteCount: 0xA0000, kind: .ram, name: "ram"),
    MappedRange(start: 0xA0000, byteCount: 0x1000, kind: .io, name: "registers"),
    MappedRange(start: 0x100000, byteCount: 0x80000, kind: .ram, name: "ram", offset: 0xA0000),
    MappedRange(start: 0x180000, byteCount: 0x80000, kind: .ram, name: "ram", offset: 0x120000),
    MappedRange(start: 0xFFFF_0000, byteCount: 0x10000, kind: .rom, name: "rom"),
  ]

  func observe(_ observer: @escaping @Sendable (MachineEvent) -> Void) -> Int {
    state.withLock {
      $0.observers.append(observer)
      return $0.observers.count
    }
  }

  func removeObserver(_ number: Int) {}

  func tell(_ event: MachineEvent) {
    for observer in state.withLock({ $0.observers }) { observer(event) }
  }

  var runState: VMM.RunState { state.withLock { $0.run } }

  func change(to run: VMM.RunState) { state.withLock { $0.run = run } }

  func stop() throws(MachineError) {
    guard runState == .running else { return }
    change(to: .paused)
    tell(.stopped)
  }

  func cont() throws(MachineError) {
    guard runState != .running else { return }
    change(to: .running)
    tell(.resumed)
  }

  func reset() throws(MachineError) { tell(.reset(byGuest: false)) }

  func powerDown() { tell(.powerDown) }

  func quit(_ reason: MachineEvent.ShutdownReason) {
    state.withLock { $0.end = reason }
    tell(.shutdown(byGuest: false, reason: reason))
  }

  let processors = [ProcessorFacts(threadIdentifier: 101), ProcessorFacts(threadIdentifier: 102)]

  static func registers(ofProcessor index: Int) -> ProcessorRegisters {
    var registers = ProcessorRegisters()
    registers.general = (0..<16).map { UInt64(index) << 60 | UInt64($0) << 8 | 0xAA }
    registers.instructionPointer = 0xFFFF_FFFF_8100_0000 + UInt64(index)
    registers.flags = 0x246
    registers.segments = (0..<6).map {
      .init(selector: UInt16($0 * 8), base: UInt64($0) << 32, limit: 0xFFFF, attributes: 0x9300)
    }
    registers.control = [0x8005_0033, 2, 3, 4, 8]
    registers.extendedFeatures = 0xD01
    registers.kernelGSBase = 0x1234
    return registers
  }

  func registers(ofProcessor index: Int) throws(MachineError) -> ProcessorRegisters {
    guard processors.indices.contains(index) else {
      throw .configuration("there is no processor \(index)")
    }
    return Self.registers(ofProcessor: index)
  }

  let ramBlocks = [
    RAMBlockFacts(
      name: "ram", pageByteCount: 4096, offset: 0, usedByteCount: 0x1A0000,
      hostAddress: 0x7F00_0000,
      path: "/dev/shm/ram"),
    RAMBlockFacts(
      name: "rom", pageByteCount: 4096, offset: 0x200000, usedByteCount: 0x10000,
      hostAddress: 0x7E00_0000, isReadOnly: true),
  ]

  var memoryMap: [MappedRange] { Self.map }

  var memoryTree: [NestedRegion] {
    let whole = MappedRange(start: 0, byteCount: 1 << 32, kind: .io, name: "system")
    return [NestedRegion(depth: 0, range: whole)]
      + Self.map.map { NestedRegion(depth: 1, range: $0, alias: $0.offset == 0 ? nil : "ram") }
  }

  static func byte(at address: UInt64, offset: UInt8 = 0) -> UInt8 {
    if address >= 0xFFFF_0000 { return 0xA5 }
    return UInt8(truncatingIfNeeded: address ^ address >> 8 ^ address >> 16) &+ offset
  }

  func readMemory(at address: GuestAddress, byteCount: Int) throws(MachineError) -> [UInt8] {
    let (offset, fails) = state.withLock { state in
      if let left = state.readsBeforeChange {
        state.readsBeforeChange = left == 0 ? nil : left - 1
        if left == 0 { state.offset &+= 1 }
      }
      return (state.offset, state.failsToRead)
    }
    guard !fails, byteCount >= 1, byteCount <= 1 << 20 else {
      throw .kernel(action: "cannot read the guest's memory", reason: "the test says so")
    }
    return (0..<UInt64(byteCount)).map { Self.byte(at: address.rawValue + $0, offset: offset) }
  }

  let blockDevices = [
    BlockDeviceFacts(
      name: "disk0", devicePath: "/machine/virtio-mmio/0", path: "/tmp/disk", byteCount: 1 << 20,
      occupiedByteCount: 4096),
    BlockDeviceFacts(
      name: "disk1", devicePath: "/machine/virtio-mmio/1", path: "/tmp/cd", byteCount: 1 << 20,
      isReadOnly: true),
  ]

  var balloon: BalloonFacts? {
    state.withLock { state in
      guard let actual = state.balloon else { return nil }
      var facts = BalloonFacts(actualByteCount: actual)
      facts.pollInterval = state.pollInterval
      facts.statistics = state.statistics
      facts.age = .seconds(2)
      return facts
    }
  }

  func setBalloon(targetByteCount: UInt64) throws(MachineError) {
    state.withLock { $0.balloon = targetByteCount }
    tell(.balloonChanged(actualByteCount: targetByteCount))
  }

  func pollBalloonStatistics(every interval: Duration?) {
    state.withLock { $0.pollInterval = interval }
  }

  var dirtyTracking: DirtyTrackingFacts {
    DirtyTrackingFacts(source: state.withLock { $0.source }, reason: "the test says so")
  }

  func countDirtyPages(
    during period: Duration, by means: DirtyCounting
  ) throws(MachineError) -> DirtyPageCount {
    switch means {
    case .bitmap: DirtyPageCount(pageCount: 2560, period: period)
    case .ring:
      DirtyPageCount(pageCount: 2560, pageCountsByProcessor: [2048, 512], period: period)
    }
  }
}

/// A migration that goes through its states when it is told to.
final class ScriptedMigration: MachineMigration {
  struct State {
    var account = MigrationAccount()
    var observers: [@Sendable (MigrationEvent) -> Void] = []
    /// What was asked for, in order.
    var calls: [String] = []
    var peers: [MigrationPeer] = []
    var options: MigrationOptions?
  }

  let state = Mutex(State())
  let supportedCapabilities: Set<String> = ["events", "postcopy-ram", "return-path"]

  func observe(_ observer: @escaping @Sendable (MigrationEvent) -> Void) {
    state.withLock { $0.observers.append(observer) }
  }

  var account: MigrationAccount { state.withLock { $0.account } }

  func move(to status: QMP.MigrationStatus) {
    let observers = state.withLock {
      $0.account.status = status
      return $0.observers
    }
    for observer in observers { observer(.status(status)) }
  }

  private func note(_ call: String, _ peer: MigrationPeer? = nil) {
    state.withLock {
      $0.calls.append(call)
      if let peer { $0.peers.append(peer) }
    }
  }

  func send(
    to peer: MigrationPeer, _ settings: MigrationOptions, resumes: Bool
  ) throws(MachineError) {
    note("send \(peer.uri)\(resumes ? " again" : "")", peer)
    state.withLock {
      $0.options = settings
      $0.account = MigrationAccount(.setup)
      $0.account.totalMilliseconds = 12
      $0.account.downtimeMilliseconds = 3
      var ram = MigrationAccount.RAM()
      ram.totalByteCount = 0x1A0000
      ram.transferredByteCount = 4096
      ram.normalPageCount = 1
      ram.megabitsPerSecond = 1.5
      $0.account.ram = ram
      for observer in $0.observers { observer(.pass(1)) }
    }
    for status in [QMP.MigrationStatus.setup, .active, .completed] { move(to: status) }
  }

  func receive(
    from peer: MigrationPeer, _ settings: MigrationOptions, exitsOnError: Bool
  ) throws(MachineError) {
    note("receive \(peer.uri)\(exitsOnError ? "" : " and stay")", peer)
    state.withLock {
      $0.account = MigrationAccount(.setup, isIncoming: true)
      if case .address(let address) = peer { $0.account.listeningAddresses = [address] }
    }
  }

  func apply(_ settings: MigrationOptions) { state.withLock { $0.options = settings } }

  func cancel() throws(MachineError) { note("cancel") }
  func recover(from peer: MigrationPeer) throws(MachineError) { note("recover \(peer.uri)", peer) }
  func pause() throws(MachineError) { note("pause") }
  func proceed() throws(MachineError) { note("proceed") }
  func startPostcopy() throws(MachineError) { note("postcopy") }
}
