// All the ACPI tables of a machine, laid out from one address on.

import Devices
import GuestMemory

/// All the ACPI tables of a machine.
struct FirmwareTables: Sendable {
  /// What a table needs to know of the machine.
  struct Machine: Sendable {
    var processorCount: Int
    /// For each virtio-mmio device its address and its interrupt.
    var virtioDevices: [(address: GuestAddress, interrupt: UInt32)]
  }

  /// The sleep type that switches the machine off; any does, so it is the customary one.
  private static let offSleepType: UInt8 = 5

  /// The tables' bytes, from `address` on; the root pointer comes first.
  let bytes: [UInt8]
  let address: GuestAddress

  init(_ machine: Machine, at address: GuestAddress) {
    self.address = address
    // The root pointer has 36 bytes; every table begins at a multiple of 64.
    var all = LittleEndianBytes(zeroes: 64)
    func place(_ table: [UInt8]) -> UInt64 {
      let offset = all.count
      all.append(table)
      all.append([UInt8](repeating: 0, count: (64 - all.count % 64) % 64))
      return address.rawValue + UInt64(offset)
    }
    let control = place(Self.firmwareControl)
    let code = place(Self.deviceCode(machine))
    let fixed = place(Self.fixed(machine, control: control, code: code))
    let interrupts = place(Self.interrupts(machine))
    var entries = LittleEndianBytes()
    for entry in [fixed, interrupts] { entries.append(entry) }
    let root = place(ACPITable.make("XSDT", revision: 1, body: entries.bytes))
    all.put(Self.rootPointer(to: root), at: 0)
    bytes = all.bytes
  }

  private static func rootPointer(to root: UInt64) -> [UInt8] {
    var pointer = LittleEndianBytes(zeroes: 36)
    pointer.put("RSD PTR ".utf8.map(\.self), at: 0)
    pointer.put("GODWIT".utf8.map(\.self), at: 9)
    pointer.put(2 as UInt8, at: 15)
    pointer.put(36 as UInt32, at: 20)
    pointer.put(root, at: 24)
    pointer.put(ACPITable.checksum(of: pointer.bytes[..<20]), at: 8)
    pointer.put(ACPITable.checksum(of: pointer.bytes), at: 32)
    return pointer.bytes
  }

  /// The FACS: nothing but its header, which alone of all has no checksum.
  private static let firmwareControl: [UInt8] = {
    var table = LittleEndianBytes(zeroes: 64)
    table.put("FACS".utf8.map(\.self), at: 0)
    table.put(64 as UInt32, at: 4)
    table.put(2 as UInt8, at: 32)
    return table.bytes
  }()

  /// The FADT: where the power management registers are, and what the machine has and lacks.
  ///
  /// Offsets are those of the specification, which count from the header's beginning.
  private static func fixed(_ machine: Machine, control: UInt64, code: UInt64) -> [UInt8] {
    var table = LittleEndianBytes(zeroes: 276)
    table.put(UInt32(truncatingIfNeeded: control), at: 36)
    table.put(UInt32(truncatingIfNeeded: code), at: 40)
    table.put(UInt16(GuestLayout.powerInterrupt), at: 46)
    table.put(UInt32(PowerManagement.firstPort), at: 56)
    table.put(UInt32(PowerManagement.firstPort + 4), at: 64)
    table.put(4 as UInt8, at: 88)  // length of the event block
    table.put(2 as UInt8, at: 89)  // length of the control block
    table.put(0xFFF as UInt16, at: 96)  // no C2
    table.put(0xFFF as UInt16, at: 98)  // no C3
    table.put(0x32 as UInt8, at: 108)  // where the clock keeps the century
    table.put(0b101 as UInt16, at: 109)  // legacy devices, no VGA
    // Cache flush works, no sleep button, no wake-up by the clock, a reset register.
    table.put(1 | 1 << 5 | 1 << 6 | 1 << 10 as UInt32, at: 112)
    table.put(register(ResetControlRegister.firstPort, bits: 8), at: 116)
    table.put(ResetControlRegister.resetValue, at: 128)
    table.put(code, at: 140)
    table.put(register(PowerManagement.firstPort, bits: 32), at: 148)
    table.put(register(PowerManagement.firstPort + 4, bits: 16), at: 172)
    let body = Array(table.bytes[ACPITable.headerByteCount...])
    return ACPITable.make("FACP", revision: 6, body: body)
  }

  /// A generic address: a port of that many bits.
  private static func register(_ port: UInt16, bits: UInt8) -> [UInt8] {
    var address = LittleEndianBytes([1, bits, 0, bits / 16 + 1])
    address.append(UInt64(port))
    return address.bytes
  }

  /// The MADT: processors and interrupt controllers.
  private static func interrupts(_ machine: Machine) -> [UInt8] {
    var table = LittleEndianBytes()
    table.append(GuestLayout.localControllerAddress)
    table.append(1 as UInt32)  // there are two 8259 as well
    for index in 0..<machine.processorCount {
      table.append([0, 8, UInt8(index), UInt8(index)])
      table.append(1 as UInt32)
    }
    table.append([1, 12, 0, 0])
    table.append(GuestLayout.interruptControllerAddress)
    table.append(0 as UInt32)
    // Level-triggered, active high: power management, and virtio where it uses legacy pins.
    for source in [GuestLayout.powerInterrupt, 5, 10, 11] {
      table.append([2, 10, 0, UInt8(source)])
      table.append(source)
      table.append(0xD as UInt16)
    }
    table.append([4, 6, 0xFF, 0, 0, 1])  // NMI is LINT1 everywhere
    return ACPITable.make("APIC", revision: 4, body: table.bytes)
  }

  /// The DSDT: virtio-mmio devices, and how the machine is switched off.
  private static func deviceCode(_ machine: Machine) -> [UInt8] {
    let devices = machine.virtioDevices.enumerated().map { index, device in
      AML.device(
        "VR" + twoDigits(index),
        [
          .name("_HID", .text("LNRO0005")),
          .name("_UID", .number(UInt8(index))),
          .name(
            "_CRS",
            .resources(
              memory: UInt32(device.address.rawValue), byteCount: 0x1000,
              interrupt: device.interrupt)),
        ])
    }
    let off = AML.number(Self.offSleepType)
    let code = AML.list([
      .scope("\\_SB_", devices),
      .name("\\_S5_", .package([off, off, .number(0), .number(0)])),
    ])
    return ACPITable.make("DSDT", revision: 2, body: code.bytes)
  }

  private static func twoDigits(_ number: Int) -> String {
    number < 10 ? "0\(number)" : "\(number)"
  }
}
