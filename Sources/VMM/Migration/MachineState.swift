// What travels of a machine beside its memory: all sections, built anew for each save and load.

import Devices
import Synchronization
import VMState
import Wire

/// The state of a machine's processors and devices, saved together and loaded together.
///
/// The machine stands still while any of this runs.
struct MachineState: Sendable {
  private let parts: MachineParts
  private let accelerator: any Accelerator

  init(of parts: MachineParts, _ accelerator: any Accelerator) {
    self.parts = parts
    self.accelerator = accelerator
  }

  /// Takes the state.
  ///
  /// - Parameter runState: what the machine was doing before it was stopped for this; who loads
  ///   the state learns from it whether the guest is to run.
  func save(as runState: RunState) throws(VMStateError) -> DeviceState {
    try registry(saving: runState).save()
  }

  /// Reads a whole state without changing the machine.
  ///
  /// Guest memory has to be in place before it is applied: devices look into it.
  func prepare(_ state: DeviceState) throws(VMStateError) -> Pending {
    let box = RunStateBox()
    let pending = try registry(saving: .paused, adopting: { box.set($0) }).prepare(state)
    return Pending(pending: pending, runState: box)
  }

  /// A state that was read whole and waits to be taken over.
  struct Pending: Sendable {
    fileprivate let pending: VMStatePending
    fileprivate let runState: RunStateBox

    /// Gives processors and devices their state; the run state that travelled with it.
    func apply() throws(VMStateError) -> RunState? {
      try pending.apply()
      return RunState(rawValue: runState.name)
    }
  }

  private func registry(
    saving runState: RunState, adopting adopt: @escaping @Sendable (String) -> Void = { _ in }
  ) throws(VMStateError) -> VMStateRegistry {
    var registry = VMStateRegistry()
    for section in (accelerator as? any AcceleratorState)?.vmstateSections ?? [] {
      try registry.add(section)
    }
    for device in parts.devices { try registry.add(device.vmstate) }
    try registry.add(
      VMStateGlobalState.section(current: { runState.rawValue }, adopt: adopt))
    return registry
  }
}

/// Takes the name of a run state out of a section that is applied.
private final class RunStateBox: Sendable {
  private let value = Mutex("")

  var name: String { value.withLock { $0 } }

  func set(_ name: String) { value.withLock { $0 = name } }
}
