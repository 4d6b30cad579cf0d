// Hardware breakpoints.

import CLinux

/// Debug registers (`struct kvm_debugregs`).
public struct DebugRegisters: Equatable, Sendable {
  /// DR0 to DR3.
  public var addresses: [UInt64] = Array(repeating: 0, count: 4)
  /// DR6, the status.
  public var dr6: UInt64 = 0
  /// DR7, the control.
  public var dr7: UInt64 = 0
  /// KVM's flags, none so far.
  public var flags: UInt64 = 0

  /// All zero.
  public init() {}
}

extension DebugRegisters {
  init(_ state: kvm_debugregs) {
    addresses = elements(of: state.db)
    dr6 = state.dr6
    dr7 = state.dr7
    flags = state.flags
  }

  /// The kernel's form.
  func kernelState() throws(KVMError) -> kvm_debugregs {
    var state = kvm_debugregs()
    try fill(&state.db, with: addresses, of: "the debug addresses")
    state.dr6 = dr6
    state.dr7 = dr7
    state.flags = flags
    return state
  }
}
