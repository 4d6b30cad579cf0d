// What CPUID answers for one leaf.

import CLinux
import Glibc

/// One answer of the CPUID instruction.
public struct CPUIDEntry: Equatable, Sendable {
  /// The index counts (`KVM_CPUID_FLAG_SIGNIFCANT_INDEX`).
  public static let indexIsSignificant: UInt32 = 1

  /// EAX as asked.
  public var function: UInt32
  /// ECX as asked, where `flags` says that it counts.
  public var index: UInt32
  /// KVM's flags.
  public var flags: UInt32
  /// EAX as answered.
  public var eax: UInt32
  /// EBX as answered.
  public var ebx: UInt32
  /// ECX as answered.
  public var ecx: UInt32
  /// EDX as answered.
  public var edx: UInt32

  /// An answer.
  public init(
    function: UInt32, index: UInt32 = 0, flags: UInt32 = 0, eax: UInt32 = 0, ebx: UInt32 = 0,
    ecx: UInt32 = 0, edx: UInt32 = 0
  ) {
    self.function = function
    self.index = index
    self.flags = flags
    self.eax = eax
    self.ebx = ebx
    self.ecx = ecx
    self.edx = edx
  }
}

extension CPUIDEntry {
  /// Words of `struct kvm_cpuid_entry2`, which is ten 32-bit numbers long.
  private static let wordCount = 5

  /// Reads a list of entries, the kernel saying how many.
  static func list(
    from descriptor: Int32, request: UInt, action: String
  ) throws(KVMError) -> [CPUIDEntry] {
    let limit = KVMSystem.cpuidEntryLimit
    // struct kvm_cpuid2: a 32-bit count, 32 bits of padding, entries.
    var words = [UInt64](repeating: 0, count: 1 + limit * wordCount)
    words[0] = UInt64(limit)
    let result = KernelCall.exchange(descriptor, request, words: &words)
    guard result >= 0 else { throw .failed(action: action, code: Int32(-result)) }
    let count = min(limit, Int(UInt32(truncatingIfNeeded: words[0])))
    // Kernels before 6.2 leave the count of KVM_GET_CPUID2 as it was asked: what lies behind the
    // entries stays zero. A leaf of that number and without content is only ever the first.
    let used = (words.lastIndex { $0 != 0 } ?? 0)
    let end = min(count, (used + wordCount - 1) / wordCount)
    return (0..<end).map { CPUIDEntry(words: words[(1 + $0 * wordCount)...].prefix(wordCount)) }
  }

  /// The structure that KVM_SET_CPUID2 takes.
  static func words(of entries: [CPUIDEntry]) -> [UInt64] {
    var words = [UInt64(entries.count)]
    for entry in entries {
      words += [
        pair(entry.function, entry.index), pair(entry.flags, entry.eax),
        pair(entry.ebx, entry.ecx), pair(entry.edx, 0), 0,
      ]
    }
    return words
  }

  private init(words: ArraySlice<UInt64>) {
    let halves = words.flatMap {
      [UInt32(truncatingIfNeeded: $0), UInt32(truncatingIfNeeded: $0 >> 32)]
    }
    self.init(
      function: halves[0], index: halves[1], flags: halves[2], eax: halves[3], ebx: halves[4],
      ecx: halves[5], edx: halves[6])
  }

  private static func pair(_ low: UInt32, _ high: UInt32) -> UInt64 {
    UInt64(low) | UInt64(high) << 32
  }
}
