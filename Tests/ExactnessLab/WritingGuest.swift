// The guest of the exactness tests: a dozen instructions that write pages for ever.

import KVM

/// Machine code that writes a growing number to pages chosen at random, and to its own page.
///
/// 32-bit protected mode without paging, so that it works on every KVM and reads nothing but its
/// own page. It writes that page as well: KVM reports a page that is only read when it maps it
/// first, and so the page that holds the code is always one that changed.
enum WritingGuest {
  /// Where the code page of a vCPU lies.
  static func codeAddress(_ index: Int) -> UInt64 { 0x10000 + UInt64(index) * 0x1000 }

  /// - Parameters:
  ///   - index: the vCPU's number.
  ///   - leaves: whether it writes to a port after each round, and so leaves the guest.
  static func code(_ index: Int, leaves: Bool) -> [UInt8] {
    let mailbox = UInt32(codeAddress(index)) + 0x800
    var code: [UInt8] = [
      0x69, 0xf6, 0x0d, 0x66, 0x19, 0x00,  // next: imul esi, esi, 1664525
      0x81, 0xc6, 0x5f, 0xf3, 0x6e, 0x3c,  // add esi, 1013904223
      0x89, 0xf0,  // mov eax, esi
      0xc1, 0xe8, 0x08,  // shr eax, 8
      0x21, 0xe8,  // and eax, ebp
      0xc1, 0xe0, 0x0c,  // shl eax, 12
      0x01, 0xc8,  // add eax, ecx
      0x83, 0xc3, 0x01,  // add ebx, 1
    ]
    code += [
      0x89, 0x1c, 0x38,  // mov [eax + edi], ebx
      0x89, 0x1d, UInt8(mailbox & 0xff), UInt8(mailbox >> 8 & 0xff),
      UInt8(mailbox >> 16 & 0xff), UInt8(mailbox >> 24),  // mov [mailbox], ebx
    ]
    if leaves { code += [0xe6, 0x10] }  // out 0x10, al
    code += [0xeb, UInt8(bitPattern: Int8(-code.count - 2))]  // jmp next
    return code
  }

  /// Where the store to a random page is in the code.
  private static let storeOffset: UInt64 = 27

  /// The guest address that a vCPU is about to write to, where its next instruction is that store.
  ///
  /// The page may have been made writable, and reported, before the vCPU was interrupted: the
  /// instruction is repeated when it runs on.
  static func addressAboutToBeWritten(_ vcpu: KVMVCPU) throws -> UInt64? {
    let registers = try vcpu.generalRegisters()
    guard registers.rip == codeAddress(vcpu.index) + storeOffset else { return nil }
    return registers.rax & 0xffff_ffff + registers.rdi
  }

  /// Puts a vCPU where the code begins.
  /// - Parameters:
  ///   - area: first guest address that is written; the pages from there on.
  ///   - pageCount: how many pages, a power of two.
  static func prepare(_ vcpu: KVMVCPU, area: UInt64, pageCount: Int) throws {
    var special = try vcpu.specialRegisters()
    special.cr0 |= 1
    special.cs.base = 0
    special.cs.limit = 0xffff_ffff
    special.cs.g = 1
    special.cs.db = 1
    special.cs.type = 0xb
    special.cs.s = 1
    special.cs.present = 1
    special.cs.selector = 8
    for segment in [\SpecialRegisters.ds, \.es, \.ss, \.fs, \.gs] {
      special[keyPath: segment] = special.cs
      special[keyPath: segment].type = 3
      special[keyPath: segment].selector = 16
    }
    try vcpu.setSpecialRegisters(special)
    var general = GeneralRegisters()
    general.rip = codeAddress(vcpu.index)
    general.rflags = 2
    general.rsi = UInt64(0x1234_5678 + vcpu.index * 7919)
    // Each vCPU has its own place in a page, and numbers that no other writes there.
    general.rdi = UInt64(0x40 + vcpu.index * 0x40)
    general.rbx = 1
    general.rcx = area
    general.rbp = UInt64(pageCount - 1)
    try vcpu.setGeneralRegisters(general)
  }
}
