// The registers that programs compute in.

import CLinux

/// General registers, instruction pointer and flags (`struct kvm_regs`).
public struct GeneralRegisters: Equatable, Sendable {
  /// RAX.
  public var rax: UInt64 = 0
  /// RBX.
  public var rbx: UInt64 = 0
  /// RCX.
  public var rcx: UInt64 = 0
  /// RDX.
  public var rdx: UInt64 = 0
  /// RSI.
  public var rsi: UInt64 = 0
  /// RDI.
  public var rdi: UInt64 = 0
  /// RSP.
  public var rsp: UInt64 = 0
  /// RBP.
  public var rbp: UInt64 = 0
  /// R8.
  public var r8: UInt64 = 0
  /// R9.
  public var r9: UInt64 = 0
  /// R10.
  public var r10: UInt64 = 0
  /// R11.
  public var r11: UInt64 = 0
  /// R12.
  public var r12: UInt64 = 0
  /// R13.
  public var r13: UInt64 = 0
  /// R14.
  public var r14: UInt64 = 0
  /// R15.
  public var r15: UInt64 = 0
  /// RIP.
  public var rip: UInt64 = 0
  /// RFLAGS.
  public var rflags: UInt64 = 0

  /// All zero.
  public init() {}
}

extension GeneralRegisters {
  init(_ state: kvm_regs) {
    rax = state.rax
    rbx = state.rbx
    rcx = state.rcx
    rdx = state.rdx
    rsi = state.rsi
    rdi = state.rdi
    rsp = state.rsp
    rbp = state.rbp
    r8 = state.r8
    r9 = state.r9
    r10 = state.r10
    r11 = state.r11
    r12 = state.r12
    r13 = state.r13
    r14 = state.r14
    r15 = state.r15
    rip = state.rip
    rflags = state.rflags
  }

  /// The kernel's form.
  var kernelState: kvm_regs {
    var state = kvm_regs()
    state.rax = rax
    state.rbx = rbx
    state.rcx = rcx
    state.rdx = rdx
    state.rsi = rsi
    state.rdi = rdi
    state.rsp = rsp
    state.rbp = rbp
    state.r8 = r8
    state.r9 = r9
    state.r10 = r10
    state.r11 = r11
    state.r12 = r12
    state.r13 = r13
    state.r14 = r14
    state.r15 = r15
    state.rip = rip
    state.rflags = rflags
    return state
  }
}
