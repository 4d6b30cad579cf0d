// Registers with which a processor starts.

import GuestMemory
import KVM

extension ProcessorStart {
  /// Sets a processor's registers; one that starts at the reset vector keeps those it has.
  func apply(to vcpu: KVMVCPU) throws(KVMError) {
    var general = GeneralRegisters()
    general.rflags = 2
    var special = try vcpu.specialRegisters()
    switch self {
    case .resetVector: return
    case .protected(let entry, let ebx):
      general.rip = entry.rawValue
      general.rbx = ebx.rawValue
      special.cr0 = 0x11  // protected mode, and a bit that is always set
      special.cr4 = 0
      special.efer = 0
      special.setFlatSegments(is64Bit: false)
    case .long(let entry, let rsi, let pageTable, let descriptorTable):
      general.rip = entry.rawValue
      general.rsi = rsi.rawValue
      // Room for a few pushes; the boot protocols do not ask for a stack.
      general.rsp = pageTable.rawValue
      special.cr0 = 0x8000_0011  // with paging
      special.cr3 = pageTable.rawValue
      special.cr4 = 0x20  // physical address extension
      special.efer = 0x500  // long mode on and active
      special.setFlatSegments(is64Bit: true)
      special.gdt.base = descriptorTable.rawValue
      special.gdt.limit = 63
      special.idt.limit = 0
    }
    try vcpu.setSpecialRegisters(special)
    try vcpu.setGeneralRegisters(general)
  }
}

extension SpecialRegisters {
  /// Segments over all of memory, by the selectors that Linux' 64-bit entry wants.
  fileprivate mutating func setFlatSegments(is64Bit: Bool) {
    var code = SegmentRegister()
    code.limit = .max
    code.selector = 0x10
    code.type = 0xB
    code.present = 1
    code.s = 1
    code.g = 1
    code.l = is64Bit ? 1 : 0
    code.db = is64Bit ? 0 : 1
    var data = code
    data.selector = 0x18
    data.type = 3
    data.l = 0
    data.db = 1
    var task = SegmentRegister()
    task.limit = 0x67
    task.selector = 0x20
    task.type = 0xB
    task.present = 1
    cs = code
    (ds, es, fs, gs, ss) = (data, data, data, data, data)
    tr = task
  }
}
