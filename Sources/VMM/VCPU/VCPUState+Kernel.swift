// VCPUState+Kernel.swift: reading a processor's state from KVM and putting it back, in order.

import KVM

extension VCPUState {
  /// Reads the state of a processor that does not run.
  ///
  /// The order matters, because reading changes things in the kernel: asking for the run state lets
  /// the local APIC take INIT and startup messages, which changes registers, and reading the APIC
  /// brings its timer up to date. Whether events are under way is asked last, when all this has
  /// happened.
  init(of vcpu: KVMVCPU) throws(KVMError) {
    let machine = vcpu.machine
    func has(_ capability: KVMCapability) -> Bool { machine.check(capability) != 0 }

    runState = has(.mpState) ? try vcpu.mpState() : nil
    // Older kernels leave the number of entries as it was asked with, and the rest empty.
    cpuid = try vcpu.cpuid().filter { $0 != CPUIDEntry(function: 0) }
    tscKilohertz = has(.getTSCKilohertz) ? try vcpu.tscKilohertz() : 0
    special =
      has(.specialRegisters2) ? try vcpu.specialRegisters2() : try vcpu.specialRegisters()
    general = try vcpu.generalRegisters()
    if vcpu.extendedStateByteCount > 0 {
      extended = try vcpu.extendedState()
    } else {
      floatingPoint = try vcpu.floatingPoint()
    }
    extendedControl = has(.xcrs) ? try vcpu.extendedControlRegisters() : []
    debug = has(.debugRegisters) ? try vcpu.debugRegisters() : nil
    localAPIC = Self.hasLocalAPIC(vcpu) ? try vcpu.localAPIC() : []
    modelSpecific = try vcpu.modelSpecificRegisters(Self.orderedRegisters(of: machine))
    events = has(.vCPUEvents) ? try vcpu.events() : nil
  }

  /// Puts the state into a processor that does not run.
  ///
  /// 1. CPUID first: it decides which bits of control registers, components of the extended state
  ///    and model-specific registers the kernel accepts.
  /// 2. The counter's rate before its value, which is kept as an offset at that rate.
  /// 3. Special registers before general ones: what the flags mean depends on the mode. They hold
  ///    the APIC's base and mode as well, so they come before the local APIC.
  /// 4. Extended control registers and state, debug registers: independent of the others.
  /// 5. The local APIC before the timer's deadline, which counts only if the APIC's timer is in
  ///    that mode; the time stamp counter before it too, as the deadline is compared with it.
  /// 6. Events after the general registers, the setting of which drops a pending exception.
  /// 7. The run state last: setting special registers to those of a reset makes the first
  ///    processor runnable, and a processor in system management mode cannot wait for INIT, which
  ///    the events say.
  func apply(to vcpu: KVMVCPU) throws {
    let machine = vcpu.machine
    try vcpu.setCPUID(cpuid)
    if tscKilohertz != 0, try vcpu.tscKilohertz() != tscKilohertz {
      try vcpu.setTSCKilohertz(tscKilohertz)
    }
    if machine.check(.specialRegisters2) != 0 {
      try vcpu.setSpecialRegisters2(special)
    } else {
      try vcpu.setSpecialRegisters(special)
    }
    try vcpu.setGeneralRegisters(general)
    if !extendedControl.isEmpty { try vcpu.setExtendedControlRegisters(extendedControl) }
    if extended.isEmpty {
      try vcpu.setFloatingPoint(floatingPoint)
    } else {
      try vcpu.setExtendedState(fitted(to: vcpu.extendedStateByteCount))
    }
    if let debug { try vcpu.setDebugRegisters(debug) }
    if !localAPIC.isEmpty { try vcpu.setLocalAPIC(localAPIC) }
    try setModelSpecificRegisters(of: vcpu)
    if let events { try vcpu.setEvents(events) }
    if let runState { try vcpu.setMPState(runState) }
  }

  /// The kernel's list, with the counter first and the deadline that is compared with it last.
  private static func orderedRegisters(
    of machine: KVMVirtualMachine
  ) throws(KVMError) -> [UInt32] {
    let all = try machine.system.modelSpecificRegisterIndices()
    let special = [Register.timeStampCounter, Register.timerDeadline]
    let others = all.filter { !special.contains($0) && !Register.hyperV.contains($0) }
    return [special[0]] + others + [special[1]]
  }

  /// Whether the local APIC is in the kernel: reading it fails otherwise.
  private static func hasLocalAPIC(_ vcpu: KVMVCPU) -> Bool {
    (try? vcpu.localAPIC()) != nil
  }

  /// The extended state in the size that this host's kernel takes.
  ///
  /// The architecture fixes where each component lies, so a larger area differs in its end alone.
  private func fitted(to byteCount: Int) throws -> [UInt8] {
    guard extended.dropFirst(byteCount).allSatisfy({ $0 == 0 }) else {
      throw VCPUStateError.extendedState(byteCount: extended.count, limit: byteCount)
    }
    let rest = max(0, byteCount - extended.count)
    return Array(extended.prefix(byteCount)) + [UInt8](repeating: 0, count: rest)
  }

  /// Sets the model-specific registers.
  ///
  /// The kernel lists registers that it reads and lets nobody set. One that it refuses may stay if
  /// it has the right value already.
  private func setModelSpecificRegisters(of vcpu: KVMVCPU) throws(KVMError) {
    try leaveCounterBehind(vcpu)
    var rest = modelSpecific[...]
    while !rest.isEmpty {
      do {
        try vcpu.setModelSpecificRegisters(Array(rest))
        return
      } catch .refusedRegister(let index, let value) {
        let current = try vcpu.modelSpecificRegisters([index]).first?.value ?? 0
        guard current == value, let place = rest.firstIndex(where: { $0.index == index }) else {
          throw .refusedRegister(index: index, value: value)
        }
        rest = rest[(place + 1)...]
      }
    }
  }

  /// Sets the first processor's time stamp counter to a far value, before it gets its own.
  ///
  /// The kernel takes a value within a second of what it expects for an attempt to bring processors
  /// into step, and keeps the offset that it has. Before Linux 6.7 that holds even for a counter
  /// that nobody has set, so a young guest's would run back. For the other processors it is what is
  /// wanted: they get the first one's offset exactly.
  private func leaveCounterBehind(_ vcpu: KVMVCPU) throws(KVMError) {
    guard vcpu.index == 0, let counter else { return }
    let far = ModelSpecificRegister(
      index: Register.timeStampCounter, value: counter &+ Self.farCounterDistance)
    try vcpu.setModelSpecificRegisters([far])
  }

  /// Hours at any rate.
  private static let farCounterDistance: UInt64 = 1 << 45
}
