// A vCPU's state, one pair of methods for each of the kernel's structures.

import CLinux
import Transport

extension KVMVCPU {
  /// Reads the general registers.
  public func generalRegisters() throws(KVMError) -> GeneralRegisters {
    var state = kvm_regs()
    try exchange(GODWIT_KVM_GET_REGS, &state, "Reading the general registers")
    return GeneralRegisters(state)
  }

  /// Sets the general registers.
  public func setGeneralRegisters(_ registers: GeneralRegisters) throws(KVMError) {
    var state = registers.kernelState
    try exchange(GODWIT_KVM_SET_REGS, &state, "Setting the general registers")
  }

  /// Reads segments and control registers.
  public func specialRegisters() throws(KVMError) -> SpecialRegisters {
    var state = kvm_sregs()
    try exchange(GODWIT_KVM_GET_SREGS, &state, "Reading the special registers")
    return SpecialRegisters(state)
  }

  /// Sets segments and control registers; a vector in the bitmap is injected.
  public func setSpecialRegisters(_ registers: SpecialRegisters) throws(KVMError) {
    var state = try registers.kernelState()
    try exchange(GODWIT_KVM_SET_SREGS, &state, "Setting the special registers")
  }

  /// Reads them with the page directory pointers; needs ``KVMCapability/specialRegisters2``.
  public func specialRegisters2() throws(KVMError) -> SpecialRegisters {
    var state = kvm_sregs2()
    try exchange(GODWIT_KVM_GET_SREGS2, &state, "Reading the special registers")
    return SpecialRegisters(state)
  }

  /// Sets them with the page directory pointers; needs ``KVMCapability/specialRegisters2``.
  public func setSpecialRegisters2(_ registers: SpecialRegisters) throws(KVMError) {
    var state = try registers.kernelState2()
    try exchange(GODWIT_KVM_SET_SREGS2, &state, "Setting the special registers")
  }

  /// Reads the x87 and SSE registers.
  public func floatingPoint() throws(KVMError) -> FloatingPointState {
    var state = kvm_fpu()
    try exchange(GODWIT_KVM_GET_FPU, &state, "Reading the floating-point registers")
    return FloatingPointState(state)
  }

  /// Sets the x87 and SSE registers.
  public func setFloatingPoint(_ registers: FloatingPointState) throws(KVMError) {
    var state = try registers.kernelState()
    try exchange(GODWIT_KVM_SET_FPU, &state, "Setting the floating-point registers")
  }

  /// Size in bytes of the extended state here; 0 where KVM does not offer it.
  public var extendedStateByteCount: Int {
    guard machine.check(.xsave) != 0 else { return 0 }
    return max(4096, machine.check(.xsave2))
  }

  /// Reads the extended processor state, laid out as the XSAVE instruction does.
  public func extendedState() throws(KVMError) -> [UInt8] {
    let byteCount = extendedStateByteCount
    guard byteCount > 0 else {
      throw .unsupported("Reading the extended state", capability: "\(KVMCapability.xsave)")
    }
    var words = [UInt64](repeating: 0, count: (byteCount + 7) / 8)
    let isLarge = byteCount > 4096
    let result = KernelCall.exchange(
      descriptor.raw, isLarge ? GODWIT_KVM_GET_XSAVE2 : GODWIT_KVM_GET_XSAVE, words: &words)
    guard result >= 0 else {
      throw .failed(action: "Reading the extended state", code: Int32(-result))
    }
    return Array(bytes(of: words).prefix(byteCount))
  }

  /// Sets the extended processor state.
  /// - Parameter state: as many bytes as ``extendedStateByteCount`` says.
  public func setExtendedState(_ state: [UInt8]) throws(KVMError) {
    guard state.count == extendedStateByteCount else {
      throw .wrongSize(
        of: "the extended state", expected: extendedStateByteCount, found: state.count)
    }
    var words = KVM.words(of: state)
    let result = KernelCall.exchange(descriptor.raw, GODWIT_KVM_SET_XSAVE, words: &words)
    guard result >= 0 else {
      throw .failed(action: "Setting the extended state", code: Int32(-result))
    }
  }

  /// Reads the local APIC's register page, 1024 bytes.
  public func localAPIC() throws(KVMError) -> [UInt8] {
    var state = kvm_lapic_state()
    try exchange(GODWIT_KVM_GET_LAPIC, &state, "Reading the local APIC")
    return elements(of: state.regs)
  }

  /// Sets the local APIC's register page, 1024 bytes.
  public func setLocalAPIC(_ registers: [UInt8]) throws(KVMError) {
    var state = kvm_lapic_state()
    try fill(&state.regs, with: registers, of: "the local APIC")
    try exchange(GODWIT_KVM_SET_LAPIC, &state, "Setting the local APIC")
  }

  /// Reads the events under way.
  public func events() throws(KVMError) -> VCPUEvents {
    var state = kvm_vcpu_events()
    try exchange(GODWIT_KVM_GET_VCPU_EVENTS, &state, "Reading the vCPU's events")
    return VCPUEvents(state)
  }

  /// Sets the events under way.
  public func setEvents(_ events: VCPUEvents) throws(KVMError) {
    var state = events.kernelState
    try exchange(GODWIT_KVM_SET_VCPU_EVENTS, &state, "Setting the vCPU's events")
  }

  /// Reads whether the vCPU runs.
  public func mpState() throws(KVMError) -> MPState {
    var state = kvm_mp_state()
    try exchange(GODWIT_KVM_GET_MP_STATE, &state, "Reading the vCPU's MP state")
    return MPState(rawValue: state.mp_state) ?? .runnable
  }

  /// Sets whether the vCPU runs.
  public func setMPState(_ state: MPState) throws(KVMError) {
    var state = kvm_mp_state(mp_state: state.rawValue)
    try exchange(GODWIT_KVM_SET_MP_STATE, &state, "Setting the vCPU's MP state")
  }

  /// Reads the debug registers.
  public func debugRegisters() throws(KVMError) -> DebugRegisters {
    var state = kvm_debugregs()
    try exchange(GODWIT_KVM_GET_DEBUGREGS, &state, "Reading the debug registers")
    return DebugRegisters(state)
  }

  /// Sets the debug registers.
  public func setDebugRegisters(_ registers: DebugRegisters) throws(KVMError) {
    var state = try registers.kernelState()
    try exchange(GODWIT_KVM_SET_DEBUGREGS, &state, "Setting the debug registers")
  }
}
