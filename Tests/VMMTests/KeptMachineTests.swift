// KeptMachineTests.swift: a machine that an earlier build saved loads for ever, on any host.

import Devices
import Foundation
import KVM
import Synchronization
import Testing
import VMState
import Wire

@testable import VMM

/// The state of a machine with the demonstration's guest, two processors and 64 MiB.
///
/// What is kept is the state beside its memory. It is loaded into devices as they are, and into
/// values in place of processors and platform, as another host's KVM would refuse those.
@Suite struct KeptMachineTests {
  private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("Fixtures")

  private static func configuration() -> MachineConfiguration {
    var configuration = MachineConfiguration(memoryByteCount: 64 << 20)
    configuration.processorCount = 2
    configuration.boot = .demonstration(MachineConfiguration.Workload())
    return configuration
  }

  /// Takes what is loaded in place of a part of KVM.
  private final class Place<State: Sendable>: Sendable {
    let value: Mutex<State?>
    let blank: State
    let description: VMStateDescription<State>
    let instance: UInt32

    init(_ description: VMStateDescription<State>, _ blank: State, instance: UInt32 = 0) {
      self.description = description
      self.blank = blank
      self.instance = instance
      value = Mutex(nil)
    }

    var section: any VMStateSection {
      let blank = blank
      return VMStateDevice(
        description, instance: instance, capture: { self.value.withLock { $0 } ?? blank },
        apply: { new in self.value.withLock { $0 = new } })
    }
  }

  @Test func `a kept machine loads, and what has not changed is written as it was`() throws {
    let sections = try Data(contentsOf: Self.folder.appendingPathComponent("demo-1.sections"))
    let json = try Data(contentsOf: Self.folder.appendingPathComponent("demo-1.json"))
    let kept = DeviceState(bytes: [UInt8](sections), description: [UInt8](json))
    let parts = try MachineParts(
      Self.configuration(), line: { _ in InterruptLine { _ in } }, post: { _ in })
    let processors = (0..<2 as Range<UInt32>).map {
      Place(VCPUState.description, VCPUState(), instance: $0)
    }
    let chips = (0..<2 as Range<UInt32>).map {
      Place(PlatformState.pic, PICState(), instance: $0)
    }
    let controller = Place(PlatformState.ioapic, IOAPICState())
    let timer = Place(PlatformState.timer, PITState())
    let clock = Place(PlatformState.clock, PlatformState.Clock())
    var registry = VMStateRegistry()
    let runState = Mutex("")
    for section in processors.map(\.section) + chips.map(\.section) { try registry.add(section) }
    for section in [controller.section, timer.section, clock.section] {
      try registry.add(section)
    }
    for device in parts.devices { try registry.add(device.vmstate) }
    try registry.add(
      VMStateGlobalState.section {
        runState.withLock { $0 }
      } adopt: { name in
        runState.withLock { $0 = name }
      })
    try registry.load(kept)
    #expect(runState.withLock { $0 } == "running")
    let first = try #require(processors[0].value.withLock { $0 })
    #expect(first.special.efer & 1 << 10 != 0, "the guest was in 64-bit mode")
    #expect(first.runState != .uninitialized)
    #expect(first.localAPIC.count == 1024)
    #expect(try #require(clock.value.withLock { $0 }).nanoseconds > 0)
    for (new, old) in zip(try registry.save().sections(), try kept.sections())
    where new.header.versionID == old.header.versionID {
      #expect(new.payload == old.payload, "\(new.header.name)")
    }
  }

  /// Keeps a machine's state anew, where that is asked for: a new version gets a new name.
  @Test(
    .enabled(
      if: ProcessInfo.processInfo.environment["GODWIT_KEEP_MACHINE"] != nil,
      "writes a fixture where GODWIT_KEEP_MACHINE gives its path without ending"))
  func `a machine's state is kept`() throws {
    let path = try #require(ProcessInfo.processInfo.environment["GODWIT_KEEP_MACHINE"])
    let machine = try Machine(Self.configuration())
    try machine.launch()
    Thread.sleep(forTimeInterval: 2)
    try machine.stop()
    let state = try MachineState(of: machine.parts, machine.accelerator).save(as: .running)
    machine.quit()
    try Data(state.bytes).write(to: URL(fileURLWithPath: path + ".sections"))
    try Data(state.description ?? []).write(to: URL(fileURLWithPath: path + ".json"))
  }
}
