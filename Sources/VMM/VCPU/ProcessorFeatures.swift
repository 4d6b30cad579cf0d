// What CPUID says in the guest: what KVM supports, and each processor's place among the others.

import KVM

/// What a processor of the guest tells of itself.
enum ProcessorFeatures {
  private static let hypervisor: UInt32 = 1 << 31
  private static let tscDeadline: UInt32 = 1 << 24
  private static let severalThreads: UInt32 = 1 << 28

  /// The answers for one processor.
  ///
  /// - Parameters:
  ///   - supported: what the host's KVM can do.
  ///   - index: the processor's number, which is its APIC's too.
  ///   - count: how many processors the machine has.
  static func entries(
    _ supported: [CPUIDEntry], index: Int, of count: Int
  ) -> [CPUIDEntry] {
    let identifier = UInt32(index)
    return supported.map { entry in
      var entry = entry
      switch entry.function {
      case 1:
        entry.ebx = entry.ebx & 0xFFFF | UInt32(count) << 16 | identifier << 24
        entry.ecx |= hypervisor | tscDeadline
        if count > 1 { entry.edx |= severalThreads } else { entry.edx &= ~severalThreads }
      case 4 where entry.eax & 0x1F != 0:
        // Every processor is a core of its own with caches of its own, but for the last level.
        entry.eax = entry.eax & 0x3FFF | UInt32(max(count, 1) - 1) << 26
      case 0xB, 0x1F:
        entry = topology(entry, identifier: identifier, count: count)
      case 0x8000_0008:
        entry.ecx = UInt32(bitCount(of: count)) << 12 | UInt32(count - 1)
      case 0x8000_001E:
        entry.eax = identifier
        entry.ebx = identifier
        entry.ecx = 0
      default: break
      }
      return entry
    }
  }

  /// Extended topology: level 0 holds one thread, level 1 all cores.
  private static func topology(
    _ old: CPUIDEntry, identifier: UInt32, count: Int
  ) -> CPUIDEntry {
    // A processor that does not tell in this way says so by a width of zero.
    guard old.ebx != 0 else { return old }
    var entry = old
    entry.edx = identifier
    switch entry.index {
    case 0:
      entry.eax = 0
      entry.ebx = 1
      entry.ecx = 0x100
    case 1:
      entry.eax = UInt32(bitCount(of: count))
      entry.ebx = UInt32(count)
      entry.ecx = 0x201
    default:
      entry.eax = 0
      entry.ebx = 0
      entry.ecx = entry.index
    }
    return entry
  }

  /// How many bits number that many things.
  private static func bitCount(of count: Int) -> Int {
    count <= 1 ? 0 : Int.bitWidth - (count - 1).leadingZeroBitCount
  }
}
