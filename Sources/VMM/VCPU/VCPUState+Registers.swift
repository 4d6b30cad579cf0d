// VCPUState+Registers.swift: the form of general and special registers and of events.

import KVM
import VMState

extension VCPUState {
  static let generalRegisters = VMStateDescription<GeneralRegisters>(
    name: "general_registers", version: 1,
    fields: [
      .uint64("rax", \.rax), .uint64("rbx", \.rbx), .uint64("rcx", \.rcx), .uint64("rdx", \.rdx),
      .uint64("rsi", \.rsi), .uint64("rdi", \.rdi), .uint64("rsp", \.rsp), .uint64("rbp", \.rbp),
      .uint64("r8", \.r8), .uint64("r9", \.r9), .uint64("r10", \.r10), .uint64("r11", \.r11),
      .uint64("r12", \.r12), .uint64("r13", \.r13), .uint64("r14", \.r14), .uint64("r15", \.r15),
      .uint64("rip", \.rip), .uint64("rflags", \.rflags),
    ])

  static let specialRegisters = VMStateDescription<SpecialRegisters>(
    name: "special_registers", version: 1,
    fields: [
      .structure("cs", \.cs, segment), .structure("ds", \.ds, segment),
      .structure("es", \.es, segment), .structure("fs", \.fs, segment),
      .structure("gs", \.gs, segment), .structure("ss", \.ss, segment),
      .structure("tr", \.tr, segment), .structure("ldt", \.ldt, segment),
      .structure("gdt", \.gdt, table), .structure("idt", \.idt, table),
      .uint64("cr0", \.cr0), .uint64("cr2", \.cr2), .uint64("cr3", \.cr3), .uint64("cr4", \.cr4),
      .uint64("cr8", \.cr8), .uint64("efer", \.efer), .uint64("apic_base", \.apicBase),
      .array("interrupt_bitmap", \.interruptBitmap, count: 4),
    ],
    subsections: [
      // Only with PAE paging: four pointers that the processor keeps apart from memory. A host
      // that does not take them loads them from the guest's memory again.
      VMStateDescription(
        name: "special_registers/pdptrs", version: 1, needed: { $0.flags != 0 },
        fields: [
          .uint64("flags", \.flags), .array("pdptrs", \.pageDirectoryPointers, count: 4),
        ])
    ])

  private static let segment = VMStateDescription<SegmentRegister>(
    name: "segment", version: 1,
    fields: [
      .uint64("base", \.base), .uint32("limit", \.limit), .uint16("selector", \.selector),
      .uint8("type", \.type), .uint8("present", \.present), .uint8("dpl", \.dpl),
      .uint8("db", \.db), .uint8("s", \.s), .uint8("l", \.l), .uint8("g", \.g),
      .uint8("avl", \.avl), .uint8("unusable", \.unusable),
    ])

  private static let table = VMStateDescription<DescriptorTable>(
    name: "descriptor_table", version: 1,
    fields: [.uint64("base", \.base), .uint16("limit", \.limit)])

  static let events = VMStateDescription<VCPUEvents>(
    name: "vcpu_events", version: 1,
    fields: [
      .uint8("exception_injected", \.exceptionIsInjected),
      .uint8("exception_nr", \.exceptionNumber),
      .uint8("exception_has_code", \.exceptionHasCode),
      .uint8("exception_pending", \.exceptionIsPending),
      .uint32("exception_code", \.exceptionCode),
      .uint8("exception_has_payload", \.exceptionHasPayload),
      .uint64("exception_payload", \.exceptionPayload),
      .uint8("interrupt_injected", \.interruptIsInjected),
      .uint8("interrupt_nr", \.interruptNumber),
      .uint8("interrupt_soft", \.interruptIsSoft),
      .uint8("interrupt_shadow", \.interruptShadow),
      .uint8("nmi_injected", \.nmiIsInjected),
      .uint8("nmi_pending", \.nmiPendingCount),
      .uint8("nmi_masked", \.nmiIsMasked),
      .uint32("sipi_vector", \.sipiVector),
      .uint32("flags", \.flags),
      .uint8("smm", \.smiIsInSMM),
      .uint8("smi_pending", \.smiIsPending),
      .uint8("smm_inside_nmi", \.smiInsideNMI),
      .uint8("latched_init", \.smiLatchedInit),
      .uint8("triple_fault_pending", \.tripleFaultIsPending),
    ])
}
