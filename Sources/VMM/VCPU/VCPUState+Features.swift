// VCPUState+Features.swift: whether a host has what a saved processor was promised.

import KVM

/// Why a processor's state does not suit this host.
enum VCPUStateError: Error, Equatable, CustomStringConvertible {
  /// The guest was told of features that this host lacks.
  case missingFeatures(leaf: UInt32, register: String, bits: UInt32)
  /// The guest's processor is another maker's.
  case otherMaker
  /// The area of extended state is larger than this host's, and its end is in use.
  case extendedState(byteCount: Int, limit: Int)

  /// A sentence for a person.
  var description: String {
    switch self {
    case .missingFeatures(let leaf, let register, let bits):
      "its guest was told of processor features that this host lacks: CPUID leaf "
        + "0x\(String(leaf, radix: 16)), \(register) bits 0x\(String(bits, radix: 16))"
    case .otherMaker:
      "its guest runs on a processor of another maker than this host's"
    case .extendedState(let byteCount, let limit):
      "its extended state takes \(byteCount) bytes, and this host's has \(limit)"
    }
  }
}

extension VCPUState {
  /// One register of a CPUID leaf whose bits are features.
  private struct FeatureWord {
    var leaf: UInt32
    var index: UInt32 = 0
    var register: any KeyPath<CPUIDEntry, UInt32> & Sendable
    var name: String
    /// Bits that say what the guest or KVM does, not what the host can.
    var ignoredBits: UInt32 = 0
  }

  private static let featureWords = [
    // MONITOR, x2APIC, the timer's deadline (both KVM's own), OSXSAVE, the hypervisor bit.
    FeatureWord(
      leaf: 1, register: \.ecx, name: "ECX",
      ignoredBits: 1 << 3 | 1 << 21 | 1 << 24 | 1 << 27 | 1 << 31),
    // The local APIC, which the guest may switch off.
    FeatureWord(leaf: 1, register: \.edx, name: "EDX", ignoredBits: 1 << 9),
    FeatureWord(leaf: 7, register: \.ebx, name: "EBX"),
    // OSPKE.
    FeatureWord(leaf: 7, register: \.ecx, name: "ECX", ignoredBits: 1 << 4),
    FeatureWord(leaf: 7, register: \.edx, name: "EDX"),
    FeatureWord(leaf: 7, index: 1, register: \.eax, name: "EAX"),
    // Components of the extended state, and forms of XSAVE.
    FeatureWord(leaf: 0xd, register: \.eax, name: "EAX"),
    FeatureWord(leaf: 0xd, index: 1, register: \.eax, name: "EAX"),
    FeatureWord(leaf: 0x8000_0001, register: \.ecx, name: "ECX"),
    FeatureWord(leaf: 0x8000_0001, register: \.edx, name: "EDX", ignoredBits: 1 << 9),
    FeatureWord(leaf: 0x8000_0008, register: \.ebx, name: "EBX"),
  ]

  /// Refuses a processor whose guest was promised what the host does not have.
  ///
  /// Nothing in the kernel would: CPUID answers what it is told to answer, and the guest fails
  /// later, at an instruction that is not there.
  /// - Parameters:
  ///   - host: what CPUID may say in a guest of this host.
  ///   - own: what it says in the processor that is to take the state. It may be more: where a
  ///     kernel cannot intercept the instruction, a guest sees the hardware's answer.
  func checkFeatures(
    against host: [CPUIDEntry], own: [CPUIDEntry] = []
  ) throws(VCPUStateError) {
    guard !cpuid.isEmpty else { return }
    if let maker = Self.entry(0, 0, of: host), let theirs = Self.entry(0, 0, of: cpuid) {
      // The maker's name stands in these three.
      guard maker.ebx == theirs.ebx, maker.ecx == theirs.ecx, maker.edx == theirs.edx else {
        throw .otherMaker
      }
    }
    for word in Self.featureWords {
      guard let promised = Self.entry(word.leaf, word.index, of: cpuid) else { continue }
      let offers = [host, own].map { list in
        Self.entry(word.leaf, word.index, of: list)?[keyPath: word.register] ?? 0
      }
      let missing = promised[keyPath: word.register] & ~(offers[0] | offers[1] | word.ignoredBits)
      guard missing == 0 else {
        throw .missingFeatures(leaf: word.leaf, register: word.name, bits: missing)
      }
    }
  }

  private static func entry(
    _ leaf: UInt32, _ index: UInt32, of entries: [CPUIDEntry]
  ) -> CPUIDEntry? {
    entries.first { entry in
      guard entry.function == leaf else { return false }
      return entry.flags & CPUIDEntry.indexIsSignificant == 0 || entry.index == index
    }
  }
}
