// SampleMachine.swift: devices with states of every kind, and the machine that they make.

import Synchronization
package import VMState

/// A device that has a state and does nothing.
package final class SampleDevice: Sendable {
  private let state: Mutex<Sample>
  private let instance: UInt32
  /// Whether it refuses what it is given.
  private let isStubborn: Bool

  package init(_ state: Sample = Sample(), instance: UInt32 = 0, isStubborn: Bool = false) {
    self.state = Mutex(state)
    self.instance = instance
    self.isStubborn = isStubborn
  }

  package var current: Sample { state.withLock { $0 } }

  package struct Refusal: Error {
    package init() {}
  }

  package var vmstate: any VMStateSection {
    VMStateDevice(
      Sample.description, instance: instance, blank: { Sample() }, capture: { self.current },
      apply: { new in
        if self.isStubborn { throw Refusal() }
        self.state.withLock { $0 = new }
      })
  }
}

/// Two devices of a kind and a run state.
package final class SampleMachine: Sendable {
  package let first: SampleDevice
  package let second: SampleDevice
  private let runState: Mutex<String>

  package init(_ first: Sample = Sample(), _ second: Sample = Sample(), runState: String = "paused")
  {
    self.first = SampleDevice(first)
    self.second = SampleDevice(second, instance: 1)
    self.runState = Mutex(runState)
  }

  package var currentRunState: String { runState.withLock { $0 } }

  package func registry() throws(VMStateError) -> VMStateRegistry {
    var registry = VMStateRegistry()
    try registry.add(
      VMStateGlobalState.section {
        self.currentRunState
      } adopt: { name in
        self.runState.withLock { $0 = name }
      })
    try registry.add(first.vmstate)
    try registry.add(second.vmstate)
    return registry
  }
}
