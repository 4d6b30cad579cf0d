// What x87 and SSE compute in, as hosts without XSAVE keep it.

import CLinux

/// x87 and SSE registers (`struct kvm_fpu`).
public struct FloatingPointState: Equatable, Sendable {
  /// Eight x87 registers of 16 bytes.
  public var registers: [UInt8] = Array(repeating: 0, count: 128)
  /// FCW.
  public var controlWord: UInt16 = 0
  /// FSW.
  public var statusWord: UInt16 = 0
  /// FTW in its short form.
  public var tagWord: UInt8 = 0
  /// FOP.
  public var lastOpcode: UInt16 = 0
  /// FIP.
  public var lastInstructionPointer: UInt64 = 0
  /// FDP.
  public var lastDataPointer: UInt64 = 0
  /// Sixteen SSE registers of 16 bytes.
  public var xmm: [UInt8] = Array(repeating: 0, count: 256)
  /// MXCSR.
  public var mxcsr: UInt32 = 0

  /// All zero.
  public init() {}
}

extension FloatingPointState {
  init(_ state: kvm_fpu) {
    registers = elements(of: state.fpr)
    controlWord = state.fcw
    statusWord = state.fsw
    tagWord = state.ftwx
    lastOpcode = state.last_opcode
    lastInstructionPointer = state.last_ip
    lastDataPointer = state.last_dp
    xmm = elements(of: state.xmm)
    mxcsr = state.mxcsr
  }

  /// The kernel's form.
  func kernelState() throws(KVMError) -> kvm_fpu {
    var state = kvm_fpu()
    try fill(&state.fpr, with: registers, of: "the x87 registers")
    state.fcw = controlWord
    state.fsw = statusWord
    state.ftwx = tagWord
    state.last_opcode = lastOpcode
    state.last_ip = lastInstructionPointer
    state.last_dp = lastDataPointer
    try fill(&state.xmm, with: xmm, of: "the SSE registers")
    state.mxcsr = mxcsr
    return state
  }
}
