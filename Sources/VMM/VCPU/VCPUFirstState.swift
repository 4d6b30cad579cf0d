// A processor's state when it was made, which a reset puts back.

import KVM

/// A processor's state when it was made.
struct VCPUFirstState: Sendable {
  /// Registers that a reset leaves alone: clocks that all processors share.
  private static let shared: Set<UInt32> = [
    timeStampCounter,
    0x3B,  // its adjustment
  ]

  private static let timeStampCounter: UInt32 = 0x10

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
    try Self.renewCounter(of: vcpu)
    try vcpu.setDebugRegisters(debug)
    try vcpu.setLocalAPIC(localAPIC)
    var events = events
    events.flags |= 3  // pending NMIs and the SIPI vector are taken over too
    try vcpu.setEvents(events)
    try vcpu.setMPState(mpState)
  }

  /// Has the time stamp counter run on from where KVM takes it to be.
  ///
  /// Where a processor of AMD's shut itself down (a triple fault, which some reset by), KVM clears
  /// all that the hardware holds of it and forgets the counter's offset. The guest would then read
  /// the host's counter while KVM compares the guest's deadlines with the guest's own: every timer
  /// would be late by as long as the host had run before the machine. A value as expected makes KVM
  /// set the offset that all processors share.
  private static func renewCounter(of vcpu: KVMVCPU) throws(KVMError) {
    try vcpu.setModelSpecificRegisters(try vcpu.modelSpecificRegisters([timeStampCounter]))
  }
}
