// VCPUState.swift: all that a virtual processor is, as a value.

import KVM
import VMState

/// The whole state of one virtual processor under KVM.
///
/// What a host has no capability for is empty, and is neither written nor put back.
struct VCPUState: Equatable, Sendable {
  /// What CPUID answers.
  var cpuid: [CPUIDEntry] = []
  /// The rate of the time stamp counter in kHz; 0 where the host does not tell.
  var tscKilohertz: UInt32 = 0
  /// Segments, descriptor tables, control registers, page directory pointers.
  var special = SpecialRegisters()
  /// General registers, instruction pointer, flags.
  var general = GeneralRegisters()
  /// The state area of the XSAVE instruction; empty where the host has none.
  var extended: [UInt8] = []
  /// x87 and SSE registers, where `extended` is empty.
  var floatingPoint = FloatingPointState()
  /// Extended control registers: which components of `extended` are on.
  var extendedControl: [ExtendedControlRegister] = []
  /// Debug registers, where the host lets them be read.
  var debug: DebugRegisters?
  /// The register page of the local APIC, 1024 bytes; empty without one in the kernel.
  var localAPIC: [UInt8] = []
  /// Model-specific registers, in the order in which they are put back.
  var modelSpecific: [ModelSpecificRegister] = []
  /// Exceptions, interrupts, NMIs and SMIs under way, where the host lets them be read.
  var events: VCPUEvents?
  /// Whether it runs, halts or waits to be started, where the host lets that be read.
  var runState: MPState?

  /// Model-specific registers that need a place of their own in the order of things.
  enum Register {
    /// `IA32_TSC`, the time stamp counter.
    static let timeStampCounter: UInt32 = 0x10
    /// `IA32_TSC_DEADLINE`, when the local APIC's timer fires.
    static let timerDeadline: UInt32 = 0x6e0
    /// Those of Hyper-V's interface, which this machine offers to no guest.
    static let hyperV: Range<UInt32> = 0x4000_0000..<0x4000_1000
  }
}

extension VCPUState {
  /// The sections of a machine's processors, in the order of their numbers, the first one first.
  ///
  /// Their threads must have finished the last port or memory access (`KVMVCPU.finishAccess`), and
  /// no processor may run while they are saved or loaded.
  static func sections(of vcpus: [KVMVCPU]) -> [any VMStateSection] {
    let counters = VCPUStateCounters(of: vcpus)
    return vcpus.map { vcpu in
      VMStateDevice(
        description, instance: UInt32(vcpu.index), blank: { VCPUState() },
        capture: {
          var state = try VCPUState(of: vcpu)
          state.setCounter(to: try counters.value(of: vcpu))
          return state
        },
        check: {
          try $0.checkFeatures(
            against: vcpu.machine.system.supportedCPUID(), own: vcpu.cpuid())
        },
        apply: { try $0.apply(to: vcpu) },
        unmigratable: { (try? hasGuests(vcpu)) == true ? "its guest runs virtual machines" : nil })
    }
  }

  /// The time stamp counter, where the host tells it.
  var counter: UInt64? {
    modelSpecific.first { $0.index == Register.timeStampCounter }?.value
  }

  /// Replaces the time stamp counter, where there is one.
  mutating func setCounter(to value: UInt64?) {
    guard let value,
      let place = modelSpecific.firstIndex(where: { $0.index == Register.timeStampCounter })
    else { return }
    modelSpecific[place].value = value
  }

  /// Whether the guest has its own virtualization switched on, whose state is not in here.
  private static func hasGuests(_ vcpu: KVMVCPU) throws -> Bool {
    // CR4.VMXE on Intel's processors, EFER.SVME on AMD's.
    let special = try vcpu.specialRegisters()
    return special.cr4 & 1 << 13 != 0 || special.efer & 1 << 12 != 0
  }
}
