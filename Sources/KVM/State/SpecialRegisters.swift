// Segments, descriptor tables and control registers.

import CLinux

/// A segment register with what the processor hides behind it (`struct kvm_segment`).
public struct SegmentRegister: Equatable, Sendable {
  /// Linear address of its first byte.
  public var base: UInt64 = 0
  /// Its last offset in bytes.
  public var limit: UInt32 = 0
  /// The value a program sees.
  public var selector: UInt16 = 0
  /// Type field of the descriptor.
  public var type: UInt8 = 0
  /// Present.
  public var present: UInt8 = 0
  /// Privilege level.
  public var dpl: UInt8 = 0
  /// Default operand size: 32 bits.
  public var db: UInt8 = 0
  /// Code or data, not a system segment.
  public var s: UInt8 = 0
  /// 64-bit code.
  public var l: UInt8 = 0
  /// The descriptor's limit counts 4 KiB pages.
  public var g: UInt8 = 0
  /// Left to software.
  public var avl: UInt8 = 0
  /// Cannot be used.
  public var unusable: UInt8 = 0

  /// All zero.
  public init() {}
}

/// A descriptor table register (`struct kvm_dtable`).
public struct DescriptorTable: Equatable, Sendable {
  /// Linear address of the table.
  public var base: UInt64 = 0
  /// Its last byte's offset.
  public var limit: UInt16 = 0

  /// All zero.
  public init() {}
}

/// Segments, tables, control registers (`struct kvm_sregs`, and what `kvm_sregs2` adds).
public struct SpecialRegisters: Equatable, Sendable {
  /// Code segment.
  public var cs = SegmentRegister()
  /// Data segment.
  public var ds = SegmentRegister()
  /// Extra segment.
  public var es = SegmentRegister()
  /// Extra segment F.
  public var fs = SegmentRegister()
  /// Extra segment G.
  public var gs = SegmentRegister()
  /// Stack segment.
  public var ss = SegmentRegister()
  /// Task register.
  public var tr = SegmentRegister()
  /// Local descriptor table.
  public var ldt = SegmentRegister()
  /// Global descriptor table.
  public var gdt = DescriptorTable()
  /// Interrupt descriptor table.
  public var idt = DescriptorTable()
  /// CR0.
  public var cr0: UInt64 = 0
  /// CR2, the last page fault's address.
  public var cr2: UInt64 = 0
  /// CR3, the page table.
  public var cr3: UInt64 = 0
  /// CR4.
  public var cr4: UInt64 = 0
  /// CR8, the task priority.
  public var cr8: UInt64 = 0
  /// Extended features.
  public var efer: UInt64 = 0
  /// Address and mode of the local APIC.
  public var apicBase: UInt64 = 0
  /// Vectors that wait to be delivered, as 256 bits; only `kvm_sregs` has it.
  public var interruptBitmap: [UInt64] = Array(repeating: 0, count: 4)
  /// `KVM_SREGS2_FLAGS_PDPTRS_VALID` (1) where the next field counts; only `kvm_sregs2` has it.
  public var flags: UInt64 = 0
  /// The four page directory pointers of PAE paging; only `kvm_sregs2` has it.
  public var pageDirectoryPointers: [UInt64] = Array(repeating: 0, count: 4)

  /// All zero.
  public init() {}
}

extension SegmentRegister {
  init(_ segment: kvm_segment) {
    base = segment.base
    limit = segment.limit
    selector = segment.selector
    type = segment.type
    present = segment.present
    dpl = segment.dpl
    db = segment.db
    s = segment.s
    l = segment.l
    g = segment.g
    avl = segment.avl
    unusable = segment.unusable
  }

  /// The kernel's form.
  var kernelState: kvm_segment {
    var segment = kvm_segment()
    segment.base = base
    segment.limit = limit
    segment.selector = selector
    segment.type = type
    segment.present = present
    segment.dpl = dpl
    segment.db = db
    segment.s = s
    segment.l = l
    segment.g = g
    segment.avl = avl
    segment.unusable = unusable
    return segment
  }
}

extension DescriptorTable {
  init(_ table: kvm_dtable) {
    base = table.base
    limit = table.limit
  }

  /// The kernel's form.
  var kernelState: kvm_dtable {
    var table = kvm_dtable()
    table.base = base
    table.limit = limit
    return table
  }
}
