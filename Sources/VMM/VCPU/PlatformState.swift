// PlatformState.swift: what KVM keeps for a whole machine: interrupt controllers, timer, clock.

import KVM
import VMState

/// The state that a machine's processors share in the kernel, as sections of its own.
enum PlatformState {
  /// The guest's clock.
  struct Clock: Equatable, Sendable {
    /// Nanoseconds since the machine began.
    var nanoseconds: UInt64 = 0
  }

  /// The sections of what that machine has, in the order in which they are put back.
  ///
  /// All come after the processors: the I/O APIC sends on what it has pending when it is set, to
  /// local APICs that have to be in place, as setting one drops what it had. The timer comes after
  /// the controllers because it starts to tick, and the clock last so that it misses least.
  /// - Parameters:
  ///   - readClock: gives the guest's clock in nanoseconds; it stands while the machine does.
  ///   - setClock: sets it.
  static func sections(
    of machine: KVMVirtualMachine, readClock: @escaping @Sendable () throws -> UInt64,
    setClock: @escaping @Sendable (UInt64) throws -> Void
  ) -> [any VMStateSection] {
    var sections: [any VMStateSection] = []
    if (try? machine.ioapic()) != nil {
      for chip in [PICState.Chip.master, .slave] {
        sections.append(
          VMStateDevice(
            pic, instance: chip.rawValue, blank: { PICState() },
            capture: { try machine.pic(chip) }, apply: { try machine.setPIC(chip, to: $0) }))
      }
      sections.append(
        VMStateDevice(
          ioapic, blank: { IOAPICState() }, capture: { try machine.ioapic() },
          apply: { try machine.setIOAPIC(to: $0) }))
    }
    if (try? machine.pit2()) != nil {
      sections.append(
        VMStateDevice(
          timer, blank: { PITState() }, capture: { try machine.pit2() },
          apply: { try machine.setPIT2(to: $0) }))
    }
    if machine.check(.adjustClock) != 0 {
      sections.append(
        VMStateDevice(
          clock, blank: { Clock() }, capture: { Clock(nanoseconds: try readClock()) },
          apply: { try setClock($0.nanoseconds) }))
    }
    return sections
  }

  static let pic = VMStateDescription<PICState>(
    name: "i8259", version: 1, priority: .platform,
    fields: [
      .uint8("last_irr", \.lastIRR), .uint8("irr", \.irr), .uint8("imr", \.imr),
      .uint8("isr", \.isr), .uint8("priority_add", \.priorityAdd), .uint8("irq_base", \.irqBase),
      .uint8("read_reg_select", \.readRegisterSelect), .uint8("poll", \.poll),
      .uint8("special_mask", \.specialMask), .uint8("init_state", \.initState),
      .uint8("auto_eoi", \.autoEOI), .uint8("rotate_on_auto_eoi", \.rotateOnAutoEOI),
      .uint8("special_fully_nested_mode", \.specialFullyNestedMode), .uint8("init4", \.init4),
      .uint8("elcr", \.elcr), .uint8("elcr_mask", \.elcrMask),
    ])

  static let ioapic = VMStateDescription<IOAPICState>(
    name: "ioapic", version: 1, priority: .platform,
    fields: [
      .uint64("base_address", \.baseAddress), .uint32("ioregsel", \.registerSelect),
      .uint32("id", \.identifier), .uint32("irr", \.irr),
      .array("redirection_table", \.redirectionTable, count: 24),
    ])

  static let timer = VMStateDescription<PITState>(
    name: "i8254", version: 1, priority: .platform,
    fields: [
      .array("channels", \.channels, of: timerChannel, count: 3), .uint32("flags", \.flags),
    ])

  /// When a count was loaded is not in here: that is an instant of the host's clock, which means
  /// nothing on another host, and the kernel begins the count anew when the timer is set.
  private static let timerChannel = VMStateDescription<PITState.Channel>(
    name: "i8254_channel", version: 1,
    fields: [
      .uint32("count", \.count), .uint16("latched_count", \.latchedCount),
      .uint8("count_latched", \.countLatched), .uint8("status_latched", \.statusLatched),
      .uint8("status", \.status), .uint8("read_state", \.readState),
      .uint8("write_state", \.writeState), .uint8("write_latch", \.writeLatch),
      .uint8("rw_mode", \.accessMode), .uint8("mode", \.mode), .uint8("bcd", \.bcd),
      .uint8("gate", \.gate),
    ])

  static let clock = VMStateDescription<Clock>(
    name: "kvmclock", version: 1, priority: .platform,
    fields: [.uint64("nanoseconds", \.nanoseconds)])
}
