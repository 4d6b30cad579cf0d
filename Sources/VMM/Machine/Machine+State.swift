// All of a machine but its memory, as sections that are saved and loaded.

import Devices
import KVM
public import VMState
public import Wire

extension Machine {
  /// The sections of processors, interrupt controllers, clock and devices, in the order in which
  /// they are saved and put back.
  public var stateSections: [any VMStateSection] {
    var sections: [any VMStateSection] = []
    if let kvm {
      sections += VCPUState.sections(of: kvm.vcpus)
      sections += PlatformState.sections(of: kvm.machine, hasIRQChip: true, hasTimer: true)
    }
    return sections + parts.devices.map(\.vmstate)
  }

  /// The registry that saves and loads them all.
  public func makeStateRegistry() throws(VMStateError) -> VMStateRegistry {
    var registry = VMStateRegistry()
    for section in stateSections { try registry.add(section) }
    return registry
  }

  /// Saves all of the machine but its memory; no processor may run meanwhile.
  ///
  /// - Throws: `VMStateError` naming the device.
  public func saveDeviceState() throws(VMStateError) -> DeviceState {
    precondition(!runState.isRunning, "a running machine's state cannot be saved")
    // The guest's clock is saved as it stood when the processors were stopped.
    if let kvm, let clock = kvm.stoppedClock { try? kvm.machine.setClock(nanoseconds: clock) }
    return try makeStateRegistry().save()
  }

  /// Gives the machine a saved state; its memory has to be in place, and no processor may run.
  ///
  /// - Throws: `VMStateError` naming the device; the machine is as before then, unless the host
  ///   failed, after which it must not run.
  public func loadDeviceState(_ state: DeviceState) throws(VMStateError) {
    precondition(!runState.isRunning, "a running machine takes no state")
    try makeStateRegistry().load(state)
    if let kvm { kvm.stoppedClock = try? kvm.machine.clock().nanoseconds }
  }
}
