// Where things are in a machine's guest-physical address space.

import Devices
public import GuestMemory

/// The addresses of a machine: memory below 3 GiB and from 4 GiB on, devices between.
///
/// | from | what |
/// | --- | --- |
/// | 0 | memory; what the boot protocols need lies below 640 KiB |
/// | 0xE0000 | ACPI tables, in memory that the guest is told to leave alone |
/// | 1 MiB | memory: kernel, initial RAM disk |
/// | 0xD0000000 | virtio-mmio devices, 4 KiB each |
/// | 0xD0100000 | the page through which the demonstration's guest speaks and rests |
/// | 0xD0101000 | the registers by which a guest says which pages nobody needs |
/// | 0xFEC00000, 0xFEE00000 | interrupt controllers, in the kernel |
/// | 4 GiB | the rest of the memory |
public struct GuestLayout: Sendable, Equatable {
  /// The size of the guest's memory in bytes.
  public let memoryByteCount: UInt64

  /// The layout of a machine with that much memory.
  public init(memoryByteCount: UInt64) {
    self.memoryByteCount = memoryByteCount
  }

  /// The end of the memory below the devices.
  public static let lowMemoryLimit: UInt64 = 3 << 30
  /// The beginning of the memory above the devices.
  public static let highMemoryStart: UInt64 = 4 << 30

  /// How much of the memory lies below the devices, from address 0.
  public var lowByteCount: UInt64 { min(memoryByteCount, Self.lowMemoryLimit) }
  /// How much of the memory lies from 4 GiB on.
  public var highByteCount: UInt64 { memoryByteCount - lowByteCount }
  /// Where the last byte of memory ends.
  public var top: UInt64 {
    highByteCount > 0 ? Self.highMemoryStart + highByteCount : lowByteCount
  }

  // Devices

  /// Where the virtio-mmio device of that number is.
  public static func virtioAddress(_ index: Int) -> GuestAddress {
    GuestAddress(0xD000_0000 + UInt64(index) << 12)
  }

  /// The interrupts of virtio-mmio devices: pins of the I/O APIC that no legacy device has.
  public static let virtioInterrupts: [UInt32] = [16, 17, 18, 19, 20, 21, 22, 23, 5, 10, 11]

  /// The page through which the demonstration's guest speaks and rests.
  public static let demonstrationPage = GuestAddress(0xD010_0000)

  /// The registers by which a guest says which pages nobody needs.
  public static let exclusionRegisters = GuestAddress(0xD010_1000)

  static let interruptControllerAddress: UInt32 = 0xFEC0_0000
  static let localControllerAddress: UInt32 = 0xFEE0_0000
  /// Three pages for the kernel's own use on Intel processors, and one for its page table.
  static let taskStateAddress: UInt32 = 0xFFFB_D000
  static let identityMapAddress: UInt64 = 0xFFFB_C000

  /// The interrupt of the serial port.
  public static let serialInterrupt: UInt32 = 4
  /// The interrupt of the clock with the date.
  public static let clockInterrupt: UInt32 = 8
  /// The interrupt of power management.
  public static let powerInterrupt = UInt32(PowerManagement.interrupt)

  // What the boot protocols need

  static let descriptorTable = GuestAddress(0x500)
  static let startInfo = GuestAddress(0x6000)
  static let bootParameters = GuestAddress(0x7000)
  static let pageTables = GuestAddress(0x1_0000)
  static let commandLine = GuestAddress(0x6_0000)
  static let commandLineLimit = 0x1_0000
  static let lowMemoryEnd: UInt64 = 0x9_FC00
  static let firmwareTables = GuestAddress(0xE_0000)
  static let firmwareEnd: UInt64 = 0x10_0000
  static let kernel: UInt64 = 0x10_0000

  /// The memory as a firmware would tell of it.
  var memoryMap: [MemoryMapEntry] {
    var map: [MemoryMapEntry] = [
      MemoryMapEntry(0..<Self.lowMemoryEnd, .usable),
      MemoryMapEntry(Self.lowMemoryEnd..<0xA_0000, .reserved),
      MemoryMapEntry(Self.firmwareTables.rawValue..<Self.firmwareEnd, .reserved),
      MemoryMapEntry(Self.firmwareEnd..<lowByteCount, .usable),
    ]
    if highByteCount > 0 { map.append(MemoryMapEntry(Self.highMemoryStart..<top, .usable)) }
    return map
  }
}

/// A stretch of the address space as firmware tells of it.
struct MemoryMapEntry: Sendable, Equatable {
  /// What it is, by the numbers of E820 and PVH alike.
  enum Kind: UInt32 {
    case usable = 1
    case reserved = 2
  }

  let range: Range<UInt64>
  let kind: Kind

  init(_ range: Range<UInt64>, _ kind: Kind) {
    self.range = range
    self.kind = kind
  }
}
