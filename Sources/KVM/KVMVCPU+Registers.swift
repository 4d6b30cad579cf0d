// A vCPU's state that comes in lists: CPUID, model-specific and extended control registers.

import CLinux
import Glibc
import Transport

extension KVMVCPU {
  /// Reads model-specific registers.
  ///
  /// The kernel stops at the first that it does not have; that one and those behind it are asked
  /// for singly, and what is not there is left out.
  /// - Parameter indices: which, by number.
  public func modelSpecificRegisters(
    _ indices: [UInt32]
  ) throws(KVMError) -> [ModelSpecificRegister] {
    var found: [ModelSpecificRegister] = []
    var rest = indices[...]
    while !rest.isEmpty {
      var words = Self.words(of: rest.map { ModelSpecificRegister(index: $0) })
      let result = KernelCall.exchange(descriptor.raw, GODWIT_KVM_GET_MSRS, words: &words)
      guard result >= 0 else {
        throw .failed(action: "Reading the model-specific registers", code: Int32(-result))
      }
      let count = min(result, rest.count)
      for position in 0..<count {
        found.append(
          ModelSpecificRegister(
            index: UInt32(truncatingIfNeeded: words[1 + 2 * position]),
            value: words[2 + 2 * position]))
      }
      rest = rest.dropFirst(count).dropFirst(count < rest.count ? 1 : 0)
    }
    return found
  }

  /// Sets model-specific registers, in order.
  /// - Throws: ``KVMError/refusedRegister(index:value:)`` for the first that the kernel refuses;
  ///   those before it are set.
  public func setModelSpecificRegisters(
    _ registers: [ModelSpecificRegister]
  ) throws(KVMError) {
    guard !registers.isEmpty else { return }
    var words = Self.words(of: registers)
    let result = KernelCall.exchange(descriptor.raw, GODWIT_KVM_SET_MSRS, words: &words)
    guard result >= 0 else {
      throw .failed(action: "Setting the model-specific registers", code: Int32(-result))
    }
    guard result >= registers.count else {
      throw .refusedRegister(index: registers[result].index, value: registers[result].value)
    }
  }

  /// Reads the extended control registers; needs ``KVMCapability/xcrs``.
  public func extendedControlRegisters() throws(KVMError) -> [ExtendedControlRegister] {
    var state = kvm_xcrs()
    try exchange(GODWIT_KVM_GET_XCRS, &state, "Reading the extended control registers")
    let all: [kvm_xcr] = elements(of: state.xcrs)
    return all.prefix(Int(state.nr_xcrs)).map {
      ExtendedControlRegister(index: $0.xcr, value: $0.value)
    }
  }

  /// Sets the extended control registers, at most 16; needs ``KVMCapability/xcrs``.
  public func setExtendedControlRegisters(
    _ registers: [ExtendedControlRegister]
  ) throws(KVMError) {
    var state = kvm_xcrs()
    guard registers.count <= Int(KVM_MAX_XCRS) else {
      throw .wrongSize(
        of: "the extended control registers", expected: Int(KVM_MAX_XCRS), found: registers.count)
    }
    var all = registers.map { kvm_xcr(xcr: $0.index, reserved: 0, value: $0.value) }
    all += Array(repeating: kvm_xcr(), count: Int(KVM_MAX_XCRS) - all.count)
    try fill(&state.xcrs, with: all, of: "the extended control registers")
    state.nr_xcrs = UInt32(registers.count)
    try exchange(GODWIT_KVM_SET_XCRS, &state, "Setting the extended control registers")
  }

  /// Reads what CPUID answers.
  public func cpuid() throws(KVMError) -> [CPUIDEntry] {
    try CPUIDEntry.list(
      from: descriptor.raw, request: GODWIT_KVM_GET_CPUID2,
      action: "Reading the vCPU's processor features")
  }

  /// Sets what CPUID answers; before the vCPU first runs.
  public func setCPUID(_ entries: [CPUIDEntry]) throws(KVMError) {
    var words = CPUIDEntry.words(of: entries)
    let result = KernelCall.exchange(descriptor.raw, GODWIT_KVM_SET_CPUID2, words: &words)
    guard result >= 0 else {
      throw .failed(action: "Setting the vCPU's processor features", code: Int32(-result))
    }
  }

  /// Reads the rate of the guest's time stamp counter in kHz.
  public func tscKilohertz() throws(KVMError) -> UInt32 {
    let result = KernelCall.plain(descriptor.raw, GODWIT_KVM_GET_TSC_KHZ)
    guard result >= 0 else {
      throw .failed(action: "Reading the rate of the guest's counter", code: Int32(-result))
    }
    return UInt32(truncatingIfNeeded: result)
  }

  /// Sets the rate of the guest's time stamp counter in kHz.
  ///
  /// A rate other than the host's needs ``KVMCapability/tscControl`` or a faster host.
  public func setTSCKilohertz(_ rate: UInt32) throws(KVMError) {
    let result = KernelCall.plain(descriptor.raw, GODWIT_KVM_SET_TSC_KHZ, UInt(rate))
    guard result >= 0 else {
      throw .failed(
        action: "Setting the rate of the guest's counter to \(rate) kHz", code: Int32(-result))
    }
  }

  /// Tells the guest's clock that the machine was stopped, so that no watchdog bites.
  /// - Returns: false where the guest does not use that clock.
  @discardableResult
  public func noteClockPause() throws(KVMError) -> Bool {
    let result = KernelCall.plain(descriptor.raw, GODWIT_KVM_KVMCLOCK_CTRL)
    if result == -Int(EINVAL) { return false }
    guard result >= 0 else {
      throw .failed(action: "Telling the guest's clock about a pause", code: Int32(-result))
    }
    return true
  }

  /// `struct kvm_msrs`: a 32-bit count and padding, then number, padding and value of each.
  private static func words(of registers: [ModelSpecificRegister]) -> [UInt64] {
    [UInt64(registers.count)] + registers.flatMap { [UInt64($0.index), $0.value] }
  }
}
