// A machine: what it is made of, and how it is put together.

public import Devices
public import GuestMemory
import KVM
public import MigrationEngine
import Synchronization
import Transport

/// A virtual machine in this process.
///
/// Its methods may be called from any thread but those of its processors; they block for the
/// milliseconds that stopping the processors takes.
public final class Machine: Sendable {
  /// What it was asked to be.
  public let configuration: MachineConfiguration
  /// What runs its processors.
  public let accelerator: any Accelerator
  let parts: MachineParts
  let life: MachineLife
  let dirtyLog: DirtyLogLease
  /// What moves the machine.
  public let migration: any MachineMigration

  /// Puts a machine together: memory, devices, boot images and processors, none of which runs.
  ///
  /// - Parameters:
  ///   - configuration: what it is to be.
  ///   - openKnown: opens a place of pages that are held here already; files are opened anyway.
  /// - Throws: ``MachineError`` with a sentence about what this host lacks or what was asked wrong.
  public init(
    _ configuration: MachineConfiguration,
    openKnown: @escaping @Sendable (KnownContentPlace) throws -> (any KnownContent)? = {
      try $0.openFile()
    }
  ) throws(MachineError) {
    try configuration.check()
    try configuration.checkMemory()
    self.configuration = configuration
    let requests = GuestRequests()
    let hardware = try Hardware(configuration, requests: requests)
    parts = hardware.parts
    accelerator = hardware.accelerator
    dirtyLog = DirtyLogLease(hardware.dirtyLog)
    do throws(MachineError) {
      try Self.boot(configuration, hardware)
    } catch {
      accelerator.end()
      throw error
    }
    let parts = parts
    life = MachineLife(
      RunStateMachine(
        isIncoming: configuration.incoming != nil,
        startsAfterIncoming: !configuration.startsPaused),
      accelerator: hardware.accelerator, requests: requests
    ) { isQuiet in parts.setQuiet(isQuiet) }
    let mover = MachineMover(
      parts, hardware.accelerator, life, dirtyLog: dirtyLog,
      pagerCommand: configuration.pagerCommand,
      known: KnownHere(places: configuration.known, open: openKnown))
    life.whenEnded { [weak mover] _ in mover?.end() }
    migration = mover
  }

  deinit {
    life.finish(.hostQuit, byGuest: false)
    parts.dismantle()
  }

  /// Puts what is booted into memory, and the processors where it begins.
  private static func boot(
    _ configuration: MachineConfiguration, _ hardware: Hardware
  ) throws(MachineError) {
    let firmware = hardware.parts.firmwareTables(processorCount: configuration.processorCount)
    let plan = try BootPlan(
      configuration.bootsNow ? configuration.boot : .nothing, layout: hardware.parts.layout,
      firmware: firmware)
    try plan.load(into: hardware.parts.memory, isReset: false)
    try hardware.accelerator.reset(to: plan.start)
  }

  /// What the machine is doing; one that is being stopped runs until it has stopped.
  public var runState: RunState { life.seenRunState }

  /// The guest's memory by blocks, with the dirty bitmaps.
  public var ram: RAMList { parts.ram }

  /// The guest's memory by guest-physical addresses.
  public var memory: AddressSpace { parts.memory }

  /// All devices, for resetting and saving; `quiesce` and `resume` are the machine's own business.
  public var devices: [any Device] { parts.devices }

  /// The processors' own accelerator where KVM runs them; nil for a stand-in.
  public var kvm: KVMAccelerator? { accelerator as? KVMAccelerator }

  /// Calls `observer` with everything that happens from now on, in order, on the thread that makes
  /// it happen; it must neither block nor call the machine.
  ///
  /// - Returns: what ``removeObserver(_:)`` takes.
  public func observe(_ observer: @escaping @Sendable (MachineEvent) -> Void) -> Int {
    life.observe(observer)
  }

  /// Ends an observation.
  public func removeObserver(_ number: Int) {
    life.removeObserver(number)
  }

  /// Waits until the machine has ended, by `quit` or by its guest.
  public func waitUntilEnd() -> MachineEnd {
    life.waitUntilEnd()
  }

  /// Waits as ``waitUntilEnd()`` does, without holding a thread of the task pool.
  public func ended() async -> MachineEnd {
    await withCheckedContinuation { continuation in
      life.whenEnded { continuation.resume(returning: $0) }
    }
  }

  /// What to tell a person who sees the machine: that it is a stand-in; nil for a real one.
  public var standInNote: String? {
    guard accelerator.kind == .synthetic else { return nil }
    return "This machine is a stand-in (--accel synthetic): no code runs in it, threads of the "
      + "host do the demo guest's work on its memory."
  }

  /// Why the machine's state is ``RunState/internalError``, or why its end was forced; nil where
  /// nothing went wrong.
  public var trouble: String? { life.trouble }

  /// Puts processors, devices and boot images into their first state; no processor runs.
  ///
  /// Images are read again rather than kept, since a machine may live for years without a reset.
  func resetParts() throws(MachineError) {
    for device in parts.devices { device.reset() }
    let isStandIn = accelerator.kind == .synthetic
    let plan = try BootPlan(
      isStandIn ? .nothing : configuration.boot, layout: parts.layout,
      firmware: parts.firmwareTables(processorCount: configuration.processorCount))
    try plan.load(into: parts.memory, isReset: true)
    try accelerator.reset(to: plan.start)
  }
}
