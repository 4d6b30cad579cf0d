// The two forms in which the kernel takes and gives the special registers.

import CLinux

extension SpecialRegisters {
  init(_ state: kvm_sregs) {
    cs = SegmentRegister(state.cs)
    ds = SegmentRegister(state.ds)
    es = SegmentRegister(state.es)
    fs = SegmentRegister(state.fs)
    gs = SegmentRegister(state.gs)
    ss = SegmentRegister(state.ss)
    tr = SegmentRegister(state.tr)
    ldt = SegmentRegister(state.ldt)
    gdt = DescriptorTable(state.gdt)
    idt = DescriptorTable(state.idt)
    cr0 = state.cr0
    cr2 = state.cr2
    cr3 = state.cr3
    cr4 = state.cr4
    cr8 = state.cr8
    efer = state.efer
    apicBase = state.apic_base
    interruptBitmap = elements(of: state.interrupt_bitmap)
  }

  /// The form of `kvm_sregs`.
  func kernelState() throws(KVMError) -> kvm_sregs {
    var state = kvm_sregs()
    state.cs = cs.kernelState
    state.ds = ds.kernelState
    state.es = es.kernelState
    state.fs = fs.kernelState
    state.gs = gs.kernelState
    state.ss = ss.kernelState
    state.tr = tr.kernelState
    state.ldt = ldt.kernelState
    state.gdt = gdt.kernelState
    state.idt = idt.kernelState
    state.cr0 = cr0
    state.cr2 = cr2
    state.cr3 = cr3
    state.cr4 = cr4
    state.cr8 = cr8
    state.efer = efer
    state.apic_base = apicBase
    try fill(&state.interrupt_bitmap, with: interruptBitmap, of: "the interrupt bitmap")
    return state
  }

  init(_ state: kvm_sregs2) {
    cs = SegmentRegister(state.cs)
    ds = SegmentRegister(state.ds)
    es = SegmentRegister(state.es)
    fs = SegmentRegister(state.fs)
    gs = SegmentRegister(state.gs)
    ss = SegmentRegister(state.ss)
    tr = SegmentRegister(state.tr)
    ldt = SegmentRegister(state.ldt)
    gdt = DescriptorTable(state.gdt)
    idt = DescriptorTable(state.idt)
    cr0 = state.cr0
    cr2 = state.cr2
    cr3 = state.cr3
    cr4 = state.cr4
    cr8 = state.cr8
    efer = state.efer
    apicBase = state.apic_base
    flags = state.flags
    pageDirectoryPointers = elements(of: state.pdptrs)
  }

  /// The form of `kvm_sregs2`.
  func kernelState2() throws(KVMError) -> kvm_sregs2 {
    var state = kvm_sregs2()
    state.cs = cs.kernelState
    state.ds = ds.kernelState
    state.es = es.kernelState
    state.fs = fs.kernelState
    state.gs = gs.kernelState
    state.ss = ss.kernelState
    state.tr = tr.kernelState
    state.ldt = ldt.kernelState
    state.gdt = gdt.kernelState
    state.idt = idt.kernelState
    state.cr0 = cr0
    state.cr2 = cr2
    state.cr3 = cr3
    state.cr4 = cr4
    state.cr8 = cr8
    state.efer = efer
    state.apic_base = apicBase
    state.flags = flags
    try fill(&state.pdptrs, with: pageDirectoryPointers, of: "the page directory pointers")
    return state
  }
}
