// Interrupt controller, timer and clock in the kernel, and descriptors in place of exits.

import CLinux
public import Transport

extension KVMVirtualMachine {
  /// Makes the interrupt controllers (two PICs, an I/O APIC, a local APIC per vCPU) in the kernel.
  ///
  /// Comes before the first vCPU and before the timer.
  public func makeIRQChip() throws(KVMError) {
    let result = KernelCall.plain(descriptor.raw, GODWIT_KVM_CREATE_IRQCHIP)
    guard result >= 0 else {
      throw .failed(action: "Creating the interrupt controller", code: Int32(-result))
    }
  }

  /// Makes the interval timer in the kernel.
  /// - Parameter withSpeaker: whether it answers the PC speaker's port 0x61 too.
  public func makePIT2(withSpeaker: Bool = true) throws(KVMError) {
    var configuration = kvm_pit_config()
    configuration.flags = withSpeaker ? UInt32(KVM_PIT_SPEAKER_DUMMY) : 0
    try exchange(GODWIT_KVM_CREATE_PIT2, &configuration, "Creating the interval timer")
  }

  /// Sets an interrupt line of the kernel's controllers; an edge is a rise and a fall.
  /// - Parameters:
  ///   - line: the line's number (GSI); 0–15 reach the PICs and the I/O APIC.
  ///   - isRaised: its level.
  public func setIRQLine(_ line: UInt32, _ isRaised: Bool) throws(KVMError) {
    var level = godwit_irq_level()
    level.line = line
    level.level = isRaised ? 1 : 0
    try exchange(GODWIT_KVM_IRQ_LINE, &level, "Setting the interrupt line \(line)")
  }

  /// Sends a message-signalled interrupt.
  /// - Returns: whether the guest was not blocking it.
  @discardableResult
  public func signalMSI(address: UInt64, data: UInt32) throws(KVMError) -> Bool {
    var message = kvm_msi()
    message.address_lo = UInt32(truncatingIfNeeded: address)
    message.address_hi = UInt32(truncatingIfNeeded: address >> 32)
    message.data = data
    let result = KernelCall.exchange(descriptor.raw, GODWIT_KVM_SIGNAL_MSI, &message)
    guard result >= 0 else {
      throw .failed(action: "Sending a message-signalled interrupt", code: Int32(-result))
    }
    return result > 0
  }

  /// Reads the guest's clock.
  public func clock() throws(KVMError) -> VMClock {
    var data = kvm_clock_data()
    try exchange(GODWIT_KVM_GET_CLOCK, &data, "Reading the guest's clock")
    return VMClock(
      nanoseconds: data.clock, flags: data.flags, realtimeNanoseconds: data.realtime,
      hostTSC: data.host_tsc)
  }

  /// Sets the guest's clock to a number of nanoseconds.
  public func setClock(nanoseconds: UInt64) throws(KVMError) {
    var data = kvm_clock_data()
    data.clock = nanoseconds
    try exchange(GODWIT_KVM_SET_CLOCK, &data, "Setting the guest's clock")
  }

  /// Reads one of the two PICs.
  public func pic(_ chip: PICState.Chip) throws(KVMError) -> PICState {
    var request = godwit_irqchip_pic()
    request.chip_id = chip.rawValue
    try exchange(GODWIT_KVM_GET_IRQCHIP, &request, "Reading the PIC")
    return PICState(request.state)
  }

  /// Sets one of the two PICs.
  public func setPIC(_ chip: PICState.Chip, to state: PICState) throws(KVMError) {
    var request = godwit_irqchip_pic()
    request.chip_id = chip.rawValue
    request.state = state.kernelState
    try exchange(GODWIT_KVM_SET_IRQCHIP, &request, "Setting the PIC")
  }

  /// Reads the I/O APIC.
  public func ioapic() throws(KVMError) -> IOAPICState {
    var request = godwit_irqchip_ioapic()
    request.chip_id = UInt32(KVM_IRQCHIP_IOAPIC)
    try exchange(GODWIT_KVM_GET_IRQCHIP, &request, "Reading the I/O APIC")
    return IOAPICState(request.state)
  }

  /// Sets the I/O APIC.
  public func setIOAPIC(to state: IOAPICState) throws(KVMError) {
    var request = godwit_irqchip_ioapic()
    request.chip_id = UInt32(KVM_IRQCHIP_IOAPIC)
    request.state = try state.kernelState()
    try exchange(GODWIT_KVM_SET_IRQCHIP, &request, "Setting the I/O APIC")
  }

  /// Reads the interval timer.
  public func pit2() throws(KVMError) -> PITState {
    var state = kvm_pit_state2()
    try exchange(GODWIT_KVM_GET_PIT2, &state, "Reading the interval timer")
    return PITState(state)
  }

  /// Sets the interval timer.
  public func setPIT2(to state: PITState) throws(KVMError) {
    var kernelState = try state.kernelState()
    try exchange(GODWIT_KVM_SET_PIT2, &kernelState, "Setting the interval timer")
  }

  /// Where a guest's access raises a descriptor instead of an exit.
  public enum IOEventAddress: Equatable, Sendable {
    /// An I/O port.
    case port(UInt16)
    /// A guest-physical address outside all slots.
    case memory(UInt64)
  }

  /// Has a guest's write raise an event descriptor instead of an exit, or ends that.
  /// - Parameters:
  ///   - event: the event descriptor.
  ///   - address: where the guest writes.
  ///   - byteCount: the write's size: 1, 2, 4 or 8; 0 for any.
  ///   - match: the written value that counts; nil for any.
  ///   - isAssigned: false ends an assignment made with the same values.
  public func setIOEvent(
    _ event: borrowing OwnedDescriptor, at address: IOEventAddress, byteCount: UInt32,
    match: UInt64? = nil, isAssigned: Bool = true
  ) throws(KVMError) {
    var request = kvm_ioeventfd()
    request.fd = event.raw
    request.len = byteCount
    request.datamatch = match ?? 0
    // KVM_IOEVENTFD_FLAG_DATAMATCH, _PIO, _DEASSIGN.
    request.flags = (match == nil ? 0 : 1) | (isAssigned ? 0 : 4)
    switch address {
    case .port(let port):
      request.addr = UInt64(port)
      request.flags |= 2
    case .memory(let address):
      request.addr = address
    }
    try exchange(GODWIT_KVM_IOEVENTFD, &request, "Tying an event to a guest's write")
  }

  /// Has an event descriptor raise an edge on an interrupt line, or ends that.
  public func setIRQEvent(
    _ event: borrowing OwnedDescriptor, line: UInt32, isAssigned: Bool = true
  ) throws(KVMError) {
    var request = kvm_irqfd()
    request.fd = UInt32(bitPattern: event.raw)
    request.gsi = line
    request.flags = isAssigned ? 0 : UInt32(KVM_IRQFD_FLAG_DEASSIGN)
    try exchange(GODWIT_KVM_IRQFD, &request, "Tying an event to the interrupt line \(line)")
  }
}
