// Processors run by the host kernel's KVM.

import DirtyTracking
public import KVM
public import MigrationCore
import Synchronization
import Transport

/// Processors run by the host kernel's KVM, each on a thread of its own, with the kernel's
/// interrupt controllers and interval timer.
public final class KVMAccelerator: Accelerator {
  /// `kvm`.
  public let kind = AcceleratorKind.kvm
  /// The machine in the kernel.
  public let machine: KVMVirtualMachine
  /// Its processors, by number; their state may be read and set while the machine is stopped.
  public let vcpus: [KVMVCPU]
  /// The guest's clock as it stood when the processors were stopped, in nanoseconds.
  ///
  /// What is put here goes into the clock before they run. Nil before the first stop.
  public var stoppedClock: UInt64? {
    get { clock.withLock { $0 } }
    set { clock.withLock { $0 = newValue } }
  }

  private let clock = Mutex<UInt64?>(nil)
  private let first: [VCPUFirstState]
  private let firstChips: ChipStates
  private let group: VCPUGroup
  private let threads = Mutex<[NamedThread]>([])
  private let runners = Mutex<[VCPURunner]>([])
  private let slowing: VCPUThrottle
  private let dirtyRate: DirtyRateLimit

  /// The kernel's numbers of the processors' threads, in order.
  public var threadIdentifiers: [Int32] {
    runners.withLock { $0.map(\.threadIdentifier) }
  }

  /// How many processors it runs.
  public var processorCount: Int { vcpus.count }

  /// What the machine in the kernel needs before devices can be wired to it.
  struct Host: Sendable {
    let system: KVMSystem
    let machine: KVMVirtualMachine

    /// Opens KVM and makes a machine with interrupt controllers and a timer.
    init() throws(KVMError) {
      system = try KVMSystem()
      machine = try system.makeVirtualMachine()
      try machine.setTSSAddress(UInt64(GuestLayout.taskStateAddress))
      if system.check(.setIdentityMapAddress) > 0 {
        try machine.setIdentityMapAddress(GuestLayout.identityMapAddress)
      }
      try machine.makeIRQChip()
      try machine.makePIT2()
    }
  }

  /// Makes the processors, standing.
  ///
  /// - Parameters:
  ///   - host: the machine in the kernel.
  ///   - count: how many processors.
  ///   - ringEntryCount: entries of each one's dirty ring; 0 where there is none.
  init(_ host: Host, processorCount count: Int, ringEntryCount: Int) throws(KVMError) {
    machine = host.machine
    dirtyRate = DirtyRateLimit(entryCount: ringEntryCount)
    group = VCPUGroup(count: count)
    let supported = try host.system.supportedCPUID()
    let indices = try host.system.modelSpecificRegisterIndices()
    var vcpus: [KVMVCPU] = []
    var first: [VCPUFirstState] = []
    for index in 0..<count {
      let vcpu = try host.machine.makeVCPU(index: index)
      try vcpu.setCPUID(ProcessorFeatures.entries(supported, index: index, of: count))
      first.append(try VCPUFirstState(vcpu, indices: indices))
      vcpus.append(vcpu)
    }
    self.vcpus = vcpus
    slowing = VCPUThrottle { [vcpus] in for vcpu in vcpus { vcpu.kick() } }
    self.first = first
    firstChips = try ChipStates(host.machine)
  }

  /// Starts the threads, which stand until ``resume()``.
  ///
  /// - Parameters:
  ///   - bus: where the processors' accesses go.
  ///   - post: takes what the guest wants of the machine.
  ///   - gate: what the processors pass on their way into the guest.
  ///   - ringFull: makes room in the processors' dirty rings.
  func start(
    _ bus: GuestBus, gate: RunGate, post: @escaping @Sendable (GuestRequest) -> Void,
    ringFull: @escaping @Sendable () throws(KVMError) -> Void
  ) throws(TransportError) {
    var started: [NamedThread] = []
    for vcpu in vcpus {
      let runner = VCPURunner(
        vcpu, bus: bus, gate: gate, group: group, throttle: slowing, dirtyRate: dirtyRate,
        post: post, ringFull: ringFull)
      started.append(try NamedThread(name: "vcpu\(vcpu.index)") { runner.main() })
      runners.withLock { $0.append(runner) }
    }
    threads.withLock { $0 = started }
  }

  /// Sets the clock and lets all processors run.
  public func resume() {
    if let clock = stoppedClock {
      // A guest's clock stands while the guest does. A kernel that cannot set it lets it run on,
      // which is no reason to keep the guest from running.
      try? machine.setClock(nanoseconds: clock)
      for vcpu in vcpus { _ = try? vcpu.noteClockPause() }
    }
    group.run()
  }

  /// Slows all processors down; nil lets them run at their own pace.
  public func throttle(_ throttle: Throttle?) {
    switch throttle {
    case nil:
      slowing.set(percent: 0)
      dirtyRate.set(bytesPerSecond: nil)
    case .rest(let percent): slowing.set(percent: percent)
    case .dirtyRate(let bytesPerSecond): dirtyRate.set(bytesPerSecond: bytesPerSecond)
    }
  }

  /// Whether each processor can be held to a rate of writing.
  public var limitsDirtyRate: Bool { dirtyRate.isKept }

  /// Stops all processors and notes the clock.
  public func pause() {
    group.halt { for vcpu in vcpus { vcpu.kick() } }
    if let clock = try? machine.clock().nanoseconds { stoppedClock = clock }
  }

  /// Puts processors, interrupt controllers and timer into their first state.
  public func reset(to start: ProcessorStart) throws(MachineError) {
    do throws(KVMError) {
      try firstChips.apply(to: machine)
      for (vcpu, state) in zip(vcpus, first) { try state.apply(to: vcpu) }
      if let boot = vcpus.first { try start.apply(to: boot) }
    } catch {
      throw .kernel(action: "cannot reset the machine", reason: "\(error)")
    }
  }

  /// Stops the processors for good and waits for their threads.
  public func end() {
    throttle(nil)
    pause()
    group.end()
    for thread in threads.withLock({ $0 }) { thread.join() }
  }
}

/// The kernel's interrupt controllers and timer when they were made, which a reset puts back.
struct ChipStates: Sendable {
  private let primary: PICState
  private let secondary: PICState
  private let ioapic: IOAPICState
  private let timer: PITState

  init(_ machine: KVMVirtualMachine) throws(KVMError) {
    primary = try machine.pic(.master)
    secondary = try machine.pic(.slave)
    ioapic = try machine.ioapic()
    timer = try machine.pit2()
  }

  func apply(to machine: KVMVirtualMachine) throws(KVMError) {
    try machine.setPIC(.master, to: primary)
    try machine.setPIC(.slave, to: secondary)
    try machine.setIOAPIC(to: ioapic)
    try machine.setPIT2(to: timer)
  }
}
