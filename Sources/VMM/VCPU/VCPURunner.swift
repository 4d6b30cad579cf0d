// One processor's thread: into the guest, out again, and what the guest wanted.

import CLinux
import DirtyTracking
import GuestMemory
import KVM
import Synchronization

/// Runs one processor of a machine on a thread of its own.
final class VCPURunner: Sendable {
  let vcpu: KVMVCPU
  private let thread = Atomic<Int32>(0)
  private let bus: GuestBus
  private let group: VCPUGroup
  private let post: @Sendable (GuestRequest) -> Void
  private let gate: RunGate
  /// Makes room in the dirty rings; called on this thread, between runs.
  private let ringFull: @Sendable () throws(KVMError) -> Void
  private let throttle: VCPUThrottle
  private let dirtyRate: DirtyRateLimit
  private let ringEmptied = Mutex(ContinuousClock.now)

  init(
    _ vcpu: KVMVCPU, bus: GuestBus, gate: RunGate, group: VCPUGroup, throttle: VCPUThrottle,
    dirtyRate: DirtyRateLimit, post: @escaping @Sendable (GuestRequest) -> Void,
    ringFull: @escaping @Sendable () throws(KVMError) -> Void
  ) {
    self.vcpu = vcpu
    self.bus = bus
    self.gate = gate
    self.group = group
    self.post = post
    self.ringFull = ringFull
    self.throttle = throttle
    self.dirtyRate = dirtyRate
  }

  /// The kernel's number of the thread; 0 before it has begun.
  var threadIdentifier: Int32 { thread.load(ordering: .relaxed) }

  /// The thread's whole life.
  func main() {
    thread.store(godwit_kvm_thread(), ordering: .relaxed)
    var isFirst = true
    var restsTaken: UInt64 = 0
    while group.stand(isFirst: isFirst) {
      isFirst = false
      do throws(KVMError) {
        while group.mayRun, try answer(gate.run(vcpu)) {
          if let rest = throttle.restDue(&restsTaken) { group.rest(rest) }
        }
        try finishAccess()
      } catch {
        post(.internalError("\(error)"))
        group.waitForHalt()
      }
    }
  }

  /// Brings the last instruction to its end, so that the registers tell what happened.
  private func finishAccess() throws(KVMError) {
    while let exit = try vcpu.finishAccess() {
      switch exit {
      case .portInput, .portOutput, .mmioRead, .mmioWrite: _ = try answer(exit)
      default: return  // what stopped it for good has been reported before
      }
    }
  }

  /// Does what an exit asks for.
  ///
  /// - Returns: whether the processor can run on.
  private func answer(_ exit: VCPUExit) throws(KVMError) -> Bool {
    switch exit {
    case .portOutput(let access): bus.output(access, of: vcpu)
    case .portInput(let access): bus.input(access, of: vcpu)
    case .mmioWrite(let address, let byteCount, let value):
      bus.memory.store(at: GuestAddress(address), byteCount: byteCount, value: value)
    case .mmioRead(let address, let byteCount):
      vcpu.setMMIOValue(bus.memory.load(at: GuestAddress(address), byteCount: byteCount))
    case .interrupted, .interruptWindowOpen, .endOfInterrupt, .nmi, .busLock, .notify: break
    case .dirtyRingFull: try emptyRing()
    case .halted:
      // Only without interrupt controllers in the kernel, and then nothing can wake it.
      group.waitForHalt()
    case .shutdown: park(.reset)
    case .systemEvent(let type, _): park(type == 1 ? .shutdown : .reset)
    case .msrRead, .msrWrite: vcpu.setMSRValue(nil)
    default:
      park(.internalError(sentence(about: exit)))
      return false
    }
    return true
  }

  /// Makes room in the ring, and rests where it filled faster than it may.
  private func emptyRing() throws(KVMError) {
    try ringFull()
    let now = ContinuousClock.now
    let rest = dirtyRate.rest(afterFillingIn: now - ringEmptied.withLock { $0 })
    if rest > .zero { group.rest(rest) }
    ringEmptied.withLock { $0 = .now }
  }

  /// Asks for something after which the guest must not go on by itself.
  private func park(_ request: GuestRequest) {
    post(request)
    group.waitForHalt()
  }

  /// What a person should know about a processor that cannot go on.
  private func sentence(about exit: VCPUExit) -> String {
    let place = (try? vcpu.generalRegisters()).map { "0x" + String($0.rip, radix: 16) }
    let what =
      switch exit {
      case .internalError(1, let data):
        "KVM cannot emulate the instruction there"
          + (data.isEmpty ? "" : " (\(data.map { String($0, radix: 16) }.joined(separator: " ")))")
      case .internalError(let suberror, _): "KVM failed with the internal error \(suberror)"
      case .failedEntry(let reason, _):
        "the hardware refused to run its state (reason 0x\(String(reason, radix: 16)))"
      case .memoryFault(_, let address, _):
        "the host could not give the memory at 0x\(String(address, radix: 16))"
      default: "KVM stopped it for a reason that Godwit does not know (\(exit))"
      }
    return "processor \(vcpu.index) stopped at \(place ?? "an unknown address"): \(what); "
      + "reset the machine, or look at the host kernel's log"
  }
}
