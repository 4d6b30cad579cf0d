// A processor's state when it was made, which a reset puts back.

import KVM

/// A processor's state when it was made.
struct VCPUFirstState: Sendable {
  /// Registers that a reset leaves alone: clocks that all processors share.
  private static let shared: Set<UInt32> = [
    0x10,  // time-stamp counter
    0x3B,  // its adjustment
  ]

  private let general: GeneralRegisters
  private let special: SpecialRegisters
  private let floatingPoint: FloatingPointState
  private let localAPIC: [UInt8]
  private let events: VCPUEvents
  private let mpState: MPState
  private let debug: DebugRegisters
  private let modelSpecific: [ModelSpecificRegister]

  /// Reads it from a processor that has not run.
  ///
  /// - Parameter indices: the model-specific registers that the host's KVM keeps.
  init(_ vcpu: KVMVCPU, indices: [UInt32]) throws(KVMError) {
    general = try vcpu.generalRegisters()
    special = try vcpu.specialRegisters()
    floatingPoint = try vcpu.floatingPoint()
    localAPIC = try vcpu.localAPIC()
    events = try vcpu.events()
    mpState = try vcpu.mpState()
    debug = try vcpu.debugRegisters()
    modelSpecific = try vcpu.modelSpecificRegisters(
      indices.filter { !Self.shared.contains($0) })
  }

  /// Gives it back to the processor.
  func apply(to vcpu: KVMVCPU) throws(KVMError) {
    try vcpu.setSpecialRegisters(special)
    try vcpu.setGeneralRegisters(general)
    try vcpu.setFloatingPoint(floatingPoint)
    for register in modelSpecific {
      do throws(KVMError) {
        try vcpu.setModelSpecificRegisters([register])
      } catch .refusedRegister {
        continue  // KVM lists some that can only be read
      }
    }
    try vcpu.setDebugRegisters(debug)
    try vcpu.setLocalAPIC(localAPIC)
    var events = events
    events.flags |= 3  // pending NMIs and the SIPI vector are taken over too
    try vcpu.setEvents(events)
    try vcpu.setMPState(mpState)
  }
}
