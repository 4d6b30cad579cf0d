// The I/O APIC, as the kernel keeps it.

import CLinux

/// The state of the I/O APIC (`struct kvm_ioapic_state`).
public struct IOAPICState: Equatable, Sendable {
  /// Its guest-physical address.
  public var baseAddress: UInt64 = 0
  /// Which register the window shows.
  public var registerSelect: UInt32 = 0
  /// Its number among the APICs.
  public var identifier: UInt32 = 0
  /// Requested interrupts.
  public var irr: UInt32 = 0
  /// Its 24 redirection entries.
  public var redirectionTable: [UInt64] = Array(repeating: 0, count: 24)

  /// All zero.
  public init() {}
}

extension IOAPICState {
  init(_ state: godwit_ioapic_state) {
    baseAddress = state.base_address
    registerSelect = state.ioregsel
    identifier = state.id
    irr = state.irr
    redirectionTable = elements(of: state.redirtbl)
  }

  /// The kernel's form.
  func kernelState() throws(KVMError) -> godwit_ioapic_state {
    var state = godwit_ioapic_state()
    state.base_address = baseAddress
    state.ioregsel = registerSelect
    state.id = identifier
    state.irr = irr
    try fill(&state.redirtbl, with: redirectionTable, of: "the redirection table of the I/O APIC")
    return state
  }
}
