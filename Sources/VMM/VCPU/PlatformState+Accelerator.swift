// PlatformState+Accelerator.swift: all sections of what runs a machine's processors.

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
