// PlatformState+Machine.swift: all sections of a machine: processors, platform, devices.

import Devices
import KVM
public import VMState

/// An accelerator whose processors have a state that can be saved and loaded.
public protocol AcceleratorState: Accelerator {
  /// The sections of the processors and of what they share; used while they are paused.
  var vmstateSections: [any VMStateSection] { get }
}

extension KVMAccelerator: AcceleratorState {
  /// The sections of the processors, the interrupt controllers, the timer and the clock.
  ///
  /// The clock is the one noted when the processors were stopped, as the kernel's own runs on; and
  /// what is loaded is noted likewise, so that it counts from when they run.
  public var vmstateSections: [any VMStateSection] {
    VCPUState.sections(of: vcpus)
      + PlatformState.sections(
        of: machine,
        readClock: { [self] in try stoppedClock ?? machine.clock().nanoseconds },
        setClock: { [self] nanoseconds in
          try machine.setClock(nanoseconds: nanoseconds)
          stoppedClock = nanoseconds
        })
  }
}

extension Machine {
  /// All of the machine's state beside its memory, as sections of one registry.
  ///
  /// To be saved while the machine is stopped, and loaded into one that has not run, with its
  /// memory in place.
  /// - Parameters:
  ///   - runState: the run state that the saved machine is to be in: QEMU's name for the one before
  ///     it was stopped (`running`, `paused`).
  ///   - adopt: takes the loaded machine's; it is called when all else was loaded.
  /// - Throws: `VMStateError` if two devices have one name and instance.
  public func vmstateRegistry(
    runState: String, adopt: @escaping @Sendable (String) -> Void = { _ in }
  ) throws(VMStateError) -> VMStateRegistry {
    var registry = VMStateRegistry()
    for section in (accelerator as? any AcceleratorState)?.vmstateSections ?? [] {
      try registry.add(section)
    }
    for device in devices { try registry.add(device.vmstate) }
    try registry.add(
      VMStateGlobalState.section {
        runState
      } adopt: {
        adopt($0)
      })
    return registry
  }
}
