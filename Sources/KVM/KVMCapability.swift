// What a KVM may or may not offer, by the kernel's numbers.

/// One of KVM's capabilities (`KVM_CAP_…`), named as the kernel names it.
public struct KVMCapability: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
  /// The kernel's number.
  public let rawValue: UInt32
  /// The kernel's name, without its prefix.
  public let name: String

  /// A capability by its number alone.
  /// - Parameter rawValue: the kernel's number.
  public init(rawValue: UInt32) {
    self.init(rawValue, "capability \(rawValue)")
  }

  init(_ rawValue: UInt32, _ name: String) {
    self.rawValue = rawValue
    self.name = name
  }

  /// The kernel's name, for sentences.
  public var description: String { "KVM_CAP_\(name)" }

  /// An interrupt controller in the kernel.
  public static let irqChip = Self(0, "IRQCHIP")
  /// Memory of this process as guest memory.
  public static let userMemory = Self(3, "USER_MEMORY")
  /// The address of the task state segment that Intel's real mode needs.
  public static let setTSSAddress = Self(4, "SET_TSS_ADDR")
  /// The recommended number of vCPUs.
  public static let vCPUCount = Self(9, "NR_VCPUS")
  /// The number of memory slots.
  public static let memorySlotCount = Self(10, "NR_MEMSLOTS")
  /// Whether a vCPU runs, waits, or is halted, read and written.
  public static let mpState = Self(14, "MP_STATE")
  /// A read of this host's memory notices what was unmapped.
  public static let synchronousMMU = Self(16, "SYNC_MMU")
  /// Interrupts raised through a descriptor.
  public static let irqFD = Self(32, "IRQFD")
  /// A timer in the kernel.
  public static let pit2 = Self(33, "PIT2")
  /// Guest accesses that raise a descriptor.
  public static let ioEventFD = Self(36, "IOEVENTFD")
  /// The address of the page table that Intel's real mode needs.
  public static let setIdentityMapAddress = Self(37, "SET_IDENTITY_MAP_ADDR")
  /// The guest clock, read and written.
  public static let adjustClock = Self(39, "ADJUST_CLOCK")
  /// Exceptions and interrupts under way, read and written.
  public static let vCPUEvents = Self(41, "VCPU_EVENTS")
  /// Debug registers, read and written.
  public static let debugRegisters = Self(50, "DEBUGREGS")
  /// The extended processor state, read and written.
  public static let xsave = Self(55, "XSAVE")
  /// Extended control registers, read and written.
  public static let xcrs = Self(56, "XCRS")
  /// A clock rate of the guest other than the host's.
  public static let tscControl = Self(60, "TSC_CONTROL")
  /// The clock rate of the guest, read.
  public static let getTSCKilohertz = Self(61, "GET_TSC_KHZ")
  /// The largest number of vCPUs.
  public static let maximumVCPUCount = Self(66, "MAX_VCPUS")
  /// Telling the guest's clock that the machine was stopped.
  public static let clockControl = Self(76, "KVMCLOCK_CTRL")
  /// Message-signalled interrupts.
  public static let signalMSI = Self(77, "SIGNAL_MSI")
  /// Memory that the guest may only read.
  public static let readOnlyMemory = Self(81, "READONLY_MEM")
  /// Capabilities that are switched on for one machine.
  public static let enableForMachine = Self(98, "ENABLE_CAP_VM")
  /// A run that ends before the guest runs.
  public static let immediateExit = Self(136, "IMMEDIATE_EXIT")
  /// A dirty log that is cleared by request, in pieces.
  public static let manualDirtyLogProtect = Self(168, "MANUAL_DIRTY_LOG_PROTECT2")
  /// Rings of dirty pages, one per vCPU.
  public static let dirtyLogRing = Self(192, "DIRTY_LOG_RING")
  /// Control registers with the page directory pointers beside them.
  public static let specialRegisters2 = Self(200, "SREGS2")
  /// The extended processor state where it takes more than 4096 bytes.
  public static let xsave2 = Self(208, "XSAVE2")
  /// Rings of dirty pages with explicit memory ordering.
  public static let dirtyLogRingAcquireRelease = Self(223, "DIRTY_LOG_RING_ACQ_REL")
  /// Rings that leave some pages to the bitmap.
  public static let dirtyLogRingWithBitmap = Self(225, "DIRTY_LOG_RING_WITH_BITMAP")
}
