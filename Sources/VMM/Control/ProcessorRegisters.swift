// The registers of an x86-64 vCPU, for people and for dumps.

/// The registers of a vCPU.
public struct ProcessorRegisters: Sendable, Equatable {
  /// RAX, RBX, RCX, RDX, RSI, RDI, RBP, RSP and R8 to R15, in this order.
  public var general: [UInt64]
  /// RIP.
  public var instructionPointer: UInt64
  /// RFLAGS.
  public var flags: UInt64
  /// ES, CS, SS, DS, FS and GS, in this order.
  public var segments: [Segment]
  /// LDTR.
  public var localTable: Segment
  /// TR.
  public var task: Segment
  /// GDTR.
  public var globalTable: Table
  /// IDTR.
  public var interruptTable: Table
  /// CR0, CR2, CR3, CR4, CR8, in this order.
  public var control: [UInt64]
  /// DR0 to DR3, DR6, DR7, in this order.
  public var debug: [UInt64]
  /// The MSR EFER.
  public var extendedFeatures: UInt64
  /// The MSR KERNEL_GS_BASE.
  public var kernelGSBase: UInt64
  /// Whether the vCPU waits for an interrupt.
  public var isHalted: Bool

  /// A segment register with its hidden part.
  public struct Segment: Sendable, Equatable {
    /// The visible part.
    public var selector: UInt16
    /// Its first address.
    public var base: UInt64
    /// Its last offset.
    public var limit: UInt32
    /// The bits 8 to 23 of a descriptor's second word: type in bits 8-11, S in bit 12, DPL in 13
    /// and 14, P in 15, AVL in 20, L in 21, D/B in 22, G in 23.
    public var attributes: UInt32

    /// A segment register.
    public init(
      selector: UInt16 = 0, base: UInt64 = 0, limit: UInt32 = 0, attributes: UInt32 = 0
    ) {
      self.selector = selector
      self.base = base
      self.limit = limit
      self.attributes = attributes
    }
  }

  /// A table register.
  public struct Table: Sendable, Equatable {
    /// Its first address.
    public var base: UInt64
    /// Its last offset.
    public var limit: UInt32

    /// A table register.
    public init(base: UInt64 = 0, limit: UInt32 = 0) {
      self.base = base
      self.limit = limit
    }
  }

  /// Registers that are all zero.
  public init() {
    general = Array(repeating: 0, count: 16)
    instructionPointer = 0
    flags = 2
    segments = Array(repeating: Segment(), count: 6)
    localTable = Segment()
    task = Segment()
    globalTable = Table()
    interruptTable = Table()
    control = Array(repeating: 0, count: 5)
    debug = Array(repeating: 0, count: 6)
    extendedFeatures = 0
    kernelGSBase = 0
    isHalted = false
  }
}
