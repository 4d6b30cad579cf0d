// VCPUState+Description.swift: the form of a processor's state in a saved machine.

import KVM
import VMState

extension VCPUState {
  /// The most entries of CPUID; the kernel takes no more.
  private static let cpuidLimit = 256
  /// The most model-specific registers; kernels list 50 to 300.
  private static let registerLimit = 2048
  /// The largest area of extended state in bytes; with AMX it takes 11,008.
  private static let extendedLimit = 64 << 10
  /// The size of the local APIC's register page in bytes.
  private static let localAPICSize = 1024

  /// The description; what a host may lack is a subsection.
  static let description = VMStateDescription<VCPUState>(
    name: "cpu", version: 1, priority: .processor,
    fields: [
      .structure("general", \.general, generalRegisters),
      .structure("special", \.special, specialRegisters),
      .counted(
        "cpuid", \.cpuid, of: cpuidEntry, blank: CPUIDEntry(function: 0), count: "cpuid_count",
        limit: cpuidLimit),
      .counted(
        "msrs", \.modelSpecific, of: modelSpecificRegister,
        blank: ModelSpecificRegister(index: 0), count: "msr_count", limit: registerLimit),
    ],
    subsections: [
      VMStateDescription(
        name: "cpu/fpu", version: 1, needed: { $0.extended.isEmpty },
        fields: [.structure("fpu", \.floatingPoint, floatingPointState)]),
      VMStateDescription(
        name: "cpu/xsave", version: 1, needed: { !$0.extended.isEmpty },
        fields: [
          .countedBuffer("xsave", \.extended, count: "xsave_size", limit: extendedLimit)
        ]),
      VMStateDescription(
        name: "cpu/xcrs", version: 1, needed: { !$0.extendedControl.isEmpty },
        fields: [
          .counted(
            "xcrs", \.extendedControl, of: extendedControlRegister,
            blank: ExtendedControlRegister(index: 0), count: "xcr_count", limit: 16)
        ]),
      VMStateDescription(
        name: "cpu/debug", version: 1, needed: { $0.debug != nil },
        fields: [.structure("debug", \.presentDebug, debugRegisters)]),
      VMStateDescription(
        name: "cpu/lapic", version: 1, needed: { !$0.localAPIC.isEmpty },
        fields: [.buffer("registers", \.localAPIC, count: localAPICSize)]),
      VMStateDescription(
        name: "cpu/events", version: 1, needed: { $0.events != nil },
        fields: [.structure("events", \.presentEvents, events)]),
      VMStateDescription(
        name: "cpu/mp_state", version: 1, needed: { $0.runState != nil },
        fields: [.choice("mp_state", \.presentRunState)]),
      VMStateDescription(
        name: "cpu/tsc", version: 1, needed: { $0.tscKilohertz != 0 },
        fields: [.uint32("khz", \.tscKilohertz)]),
    ])

  private var presentDebug: DebugRegisters {
    get { debug ?? DebugRegisters() }
    set { debug = newValue }
  }

  private var presentEvents: VCPUEvents {
    get { events ?? VCPUEvents() }
    set { events = newValue }
  }

  private var presentRunState: MPState {
    get { runState ?? .runnable }
    set { runState = newValue }
  }

  private static let cpuidEntry = VMStateDescription<CPUIDEntry>(
    name: "cpuid_entry", version: 1,
    fields: [
      .uint32("function", \.function), .uint32("index", \.index), .uint32("flags", \.flags),
      .uint32("eax", \.eax), .uint32("ebx", \.ebx), .uint32("ecx", \.ecx), .uint32("edx", \.edx),
    ])

  private static let modelSpecificRegister = VMStateDescription<ModelSpecificRegister>(
    name: "msr", version: 1, fields: [.uint32("index", \.index), .uint64("value", \.value)])

  private static let extendedControlRegister = VMStateDescription<ExtendedControlRegister>(
    name: "xcr", version: 1, fields: [.uint32("index", \.index), .uint64("value", \.value)])

  private static let debugRegisters = VMStateDescription<DebugRegisters>(
    name: "debug_registers", version: 1,
    fields: [
      .array("dr", \.addresses, count: 4), .uint64("dr6", \.dr6), .uint64("dr7", \.dr7),
      .uint64("flags", \.flags),
    ])

  private static let floatingPointState = VMStateDescription<FloatingPointState>(
    name: "fpu_registers", version: 1,
    fields: [
      .buffer("fpr", \.registers, count: 128), .uint16("fcw", \.controlWord),
      .uint16("fsw", \.statusWord), .uint8("ftw", \.tagWord), .uint16("fop", \.lastOpcode),
      .uint64("fip", \.lastInstructionPointer), .uint64("fdp", \.lastDataPointer),
      .buffer("xmm", \.xmm, count: 256), .uint32("mxcsr", \.mxcsr),
    ])
}
