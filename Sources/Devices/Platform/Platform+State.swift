// What of the clock, the reset register and the power management travels.

import Synchronization
public import VMState

extension RealTimeClock {
  /// The device's section in the machine's state.
  public var vmstate: any VMStateSection {
    VMStateDevice(
      Self.description,
      capture: { self.state.withLock { $0.registers } },
      apply: { registers in self.state.withLock { $0.registers = registers } })
  }

  /// The offset lets the guest's clock go on with the host's, on whichever host it wakes.
  static let description = VMStateDescription<ClockRegisters>(
    name: "mc146818rtc", version: 1,
    fields: [
      .buffer("cmos_data", \.bytes, count: ClockRegisters.byteCount),
      .uint8("cmos_index", \.index),
      .int64("offset_ns", \.offset),
      .int64("reviewed_ns", \.reviewed),
      .validate("an index below 128") { $0.index < 128 },
    ])
}

extension ResetControlRegister {
  /// The device's section in the machine's state.
  public var vmstate: any VMStateSection {
    VMStateDevice(
      Self.description, blank: { State() },
      capture: { self.state.withLock { $0 } },
      apply: { new in self.state.withLock { $0 = new } })
  }

  static let description = VMStateDescription<State>(
    name: "reset-control", version: 1, fields: [.uint8("value", \.value)])
}

extension PowerManagement {
  /// The device's section in the machine's state.
  public var vmstate: any VMStateSection {
    VMStateDevice(
      Self.description, blank: { State() },
      capture: { self.state.withLock { $0 } },
      apply: { new in self.state.withLock { $0 = new } })
  }

  static let description = VMStateDescription<State>(
    name: "acpi-pm", version: 1,
    fields: [
      .uint16("pm1_status", \.status),
      .uint16("pm1_enable", \.enable),
      .uint16("pm1_control", \.control),
    ])
}
