// Exceptions, interrupts, NMIs and SMIs that are pending or under way.

import CLinux

/// Events under way (`struct kvm_vcpu_events`).
public struct VCPUEvents: Equatable, Sendable {
  /// Whether an exception is being delivered.
  public var exceptionIsInjected: UInt8 = 0
  /// Its vector.
  public var exceptionNumber: UInt8 = 0
  /// Whether it has an error code.
  public var exceptionHasCode: UInt8 = 0
  /// Whether it waits to be delivered.
  public var exceptionIsPending: UInt8 = 0
  /// Its error code.
  public var exceptionCode: UInt32 = 0
  /// Whether an interrupt is being delivered.
  public var interruptIsInjected: UInt8 = 0
  /// Its vector.
  public var interruptNumber: UInt8 = 0
  /// Whether an instruction raised it.
  public var interruptIsSoft: UInt8 = 0
  /// Whether the last instruction holds interrupts off.
  public var interruptShadow: UInt8 = 0
  /// Whether an NMI is being delivered.
  public var nmiIsInjected: UInt8 = 0
  /// NMIs that wait.
  public var nmiPendingCount: UInt8 = 0
  /// Whether NMIs are held off.
  public var nmiIsMasked: UInt8 = 0
  /// Where a started vCPU begins.
  public var sipiVector: UInt32 = 0
  /// Which of the fields a set takes over (`KVM_VCPUEVENT_VALID_…`).
  public var flags: UInt32 = 0
  /// Whether the vCPU is in system management mode.
  public var smiIsInSMM: UInt8 = 0
  /// Whether an SMI waits.
  public var smiIsPending: UInt8 = 0
  /// Whether it interrupted an NMI.
  public var smiInsideNMI: UInt8 = 0
  /// Whether an INIT waits for its end.
  public var smiLatchedInit: UInt8 = 0
  /// Whether a triple fault waits.
  public var tripleFaultIsPending: UInt8 = 0
  /// Whether the exception carries a value.
  public var exceptionHasPayload: UInt8 = 0
  /// That value (CR2 or DR6).
  public var exceptionPayload: UInt64 = 0

  /// All zero.
  public init() {}
}

extension VCPUEvents {
  init(_ state: kvm_vcpu_events) {
    exceptionIsInjected = state.exception.injected
    exceptionNumber = state.exception.nr
    exceptionHasCode = state.exception.has_error_code
    exceptionIsPending = state.exception.pending
    exceptionCode = state.exception.error_code
    interruptIsInjected = state.interrupt.injected
    interruptNumber = state.interrupt.nr
    interruptIsSoft = state.interrupt.soft
    interruptShadow = state.interrupt.shadow
    nmiIsInjected = state.nmi.injected
    nmiPendingCount = state.nmi.pending
    nmiIsMasked = state.nmi.masked
    sipiVector = state.sipi_vector
    flags = state.flags
    smiIsInSMM = state.smi.smm
    smiIsPending = state.smi.pending
    smiInsideNMI = state.smi.smm_inside_nmi
    smiLatchedInit = state.smi.latched_init
    tripleFaultIsPending = state.triple_fault.pending
    exceptionHasPayload = state.exception_has_payload
    exceptionPayload = state.exception_payload
  }

  /// The kernel's form.
  var kernelState: kvm_vcpu_events {
    var state = kvm_vcpu_events()
    state.exception.injected = exceptionIsInjected
    state.exception.nr = exceptionNumber
    state.exception.has_error_code = exceptionHasCode
    state.exception.pending = exceptionIsPending
    state.exception.error_code = exceptionCode
    state.interrupt.injected = interruptIsInjected
    state.interrupt.nr = interruptNumber
    state.interrupt.soft = interruptIsSoft
    state.interrupt.shadow = interruptShadow
    state.nmi.injected = nmiIsInjected
    state.nmi.pending = nmiPendingCount
    state.nmi.masked = nmiIsMasked
    state.sipi_vector = sipiVector
    state.flags = flags
    state.smi.smm = smiIsInSMM
    state.smi.pending = smiIsPending
    state.smi.smm_inside_nmi = smiInsideNMI
    state.smi.latched_init = smiLatchedInit
    state.triple_fault.pending = tripleFaultIsPending
    state.exception_has_payload = exceptionHasPayload
    state.exception_payload = exceptionPayload
    return state
  }
}
