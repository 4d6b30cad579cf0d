// A machine in the kernel for as long as the checks take, so that it is never the first or last.

import KVM

/// A machine with one processor that never runs.
///
/// Linux rewrites instructions of its scheduler when KVM gets its first machine and when the last
/// one goes, and some of KVM itself with the first processor whose interrupt controller is off.
/// An emulated processor may miss that and be stuck (``StaleInstruction`` says why), and then the
/// whole lab is. With this one there, nothing is rewritten for those that are checked.
struct HeldMachine {
  private let processor: KVMVCPU

  init() throws {
    let machine = try KVMSystem().makeVirtualMachine()
    try machine.makeIRQChip()
    processor = try machine.makeVCPU(index: 0)
  }
}
