// What a machine is, for those who ask: plain values.

public import Devices
public import GuestMemory

/// What a machine was made with.
public struct MachineFacts: Sendable, Equatable {
  /// The name that a person gave it.
  public var name: String?
  /// Its identity, as 8-4-4-4-12 hexadecimal digits in lower case; zeros where none was given.
  public var uuid: String
  /// The machine type, as streams name it.
  public var machineType: String
  /// What runs its code.
  public var accelerator: AcceleratorKind
  /// The most vCPUs that the type may have.
  public var processorLimit: Int
  /// The name of the RAM block that is its main memory.
  public var mainMemoryBlock: String
  /// Bytes of RAM that it was started with.
  public var memoryByteCount: UInt64

  /// A machine's facts.
  /// - Parameters:
  ///   - name: what a person calls it.
  ///   - uuid: its identity, as hexadecimal digits; nil for none.
  ///   - machineType: its type, as streams name it.
  ///   - accelerator: what runs its code.
  ///   - processorLimit: the most vCPUs that the type may have.
  ///   - mainMemoryBlock: the RAM block that is its main memory.
  ///   - memoryByteCount: bytes of RAM.
  public init(
    name: String? = nil, uuid: String? = nil, machineType: String, accelerator: AcceleratorKind,
    processorLimit: Int, mainMemoryBlock: String, memoryByteCount: UInt64
  ) {
    self.name = name
    self.uuid = uuid ?? "00000000-0000-0000-0000-000000000000"
    self.machineType = machineType
    self.accelerator = accelerator
    self.processorLimit = processorLimit
    self.mainMemoryBlock = mainMemoryBlock
    self.memoryByteCount = memoryByteCount
  }
}

/// A vCPU, for those who ask.
public struct ProcessorFacts: Sendable, Equatable {
  /// The number of the host's thread that runs it.
  public var threadIdentifier: Int32
  /// Whether it waits for an interrupt.
  public var isHalted: Bool

  /// A vCPU.
  /// - Parameters:
  ///   - threadIdentifier: the host's thread.
  ///   - isHalted: whether it waits for an interrupt.
  public init(threadIdentifier: Int32, isHalted: Bool = false) {
    self.threadIdentifier = threadIdentifier
    self.isHalted = isHalted
  }
}

/// A RAM block, for those who ask.
public struct RAMBlockFacts: Sendable, Equatable {
  /// Its name in migration streams.
  public var name: String
  /// The size of the host's pages behind it, in bytes.
  public var pageByteCount: Int
  /// Its place among all blocks, in bytes.
  public var offset: UInt64
  /// Bytes in use.
  public var usedByteCount: UInt64
  /// Bytes that it may grow to.
  public var maximumByteCount: UInt64
  /// Where it is mapped in this process.
  public var hostAddress: UInt64
  /// Whether the guest cannot write to it.
  public var isReadOnly: Bool
  /// Whether its file or descriptor holds what the guest writes.
  public var isShared: Bool
  /// The file behind it; nil for anonymous memory.
  public var path: String?

  /// A block.
  /// - Parameters:
  ///   - name: its name in streams.
  ///   - pageByteCount: the host's page size behind it.
  ///   - offset: its place among all blocks.
  ///   - usedByteCount: bytes in use.
  ///   - maximumByteCount: bytes that it may grow to; nil for no more than are in use.
  ///   - hostAddress: where it is mapped.
  ///   - isReadOnly: whether the guest cannot write to it.
  ///   - isShared: whether its file holds what the guest writes.
  ///   - path: the file behind it.
  public init(
    name: String, pageByteCount: Int, offset: UInt64, usedByteCount: UInt64,
    maximumByteCount: UInt64? = nil, hostAddress: UInt64, isReadOnly: Bool = false,
    isShared: Bool = false, path: String? = nil
  ) {
    self.name = name
    self.pageByteCount = pageByteCount
    self.offset = offset
    self.usedByteCount = usedByteCount
    self.maximumByteCount = maximumByteCount ?? usedByteCount
    self.hostAddress = hostAddress
    self.isReadOnly = isReadOnly
    self.isShared = isShared
    self.path = path
  }
}

/// What memory is, to the guest.
public enum MemoryKind: String, Sendable {
  /// Memory that keeps what is written.
  case ram
  /// Memory that the guest only reads.
  case rom
  /// A device's registers, or a region that only holds others.
  case io = "i/o"
}

/// A range of what the guest sees.
public struct MappedRange: Sendable, Equatable {
  /// Its first address.
  public var start: GuestAddress
  /// Its length in bytes, at least 1.
  public var byteCount: UInt64
  /// What it is.
  public var kind: MemoryKind
  /// The region that is seen there.
  public var name: String
  /// Which part of the region: the offset of the range's first byte in it.
  public var offset: UInt64

  /// A range.
  /// - Parameters:
  ///   - start: its first address.
  ///   - byteCount: its length.
  ///   - kind: what it is.
  ///   - name: the region that is seen there.
  ///   - offset: the part of the region.
  public init(
    start: GuestAddress, byteCount: UInt64, kind: MemoryKind, name: String, offset: UInt64 = 0
  ) {
    self.start = start
    self.byteCount = byteCount
    self.kind = kind
    self.name = name
    self.offset = offset
  }
}

/// A region in the tree of regions.
public struct NestedRegion: Sendable, Equatable {
  /// How deep it is nested; 0 for the outermost.
  public var depth: Int
  /// Its range, as if nothing lay above it.
  public var range: MappedRange
  /// Which of two regions is seen where they overlap: the higher.
  public var priority: Int
  /// What it shows, for an alias.
  public var alias: String?
  /// Whether it is seen at all.
  public var isEnabled: Bool

  /// A region.
  /// - Parameters:
  ///   - depth: how deep it is nested.
  ///   - range: its range, name and kind.
  ///   - priority: which is seen where two overlap.
  ///   - alias: what it shows, for an alias.
  ///   - isEnabled: whether it is seen.
  public init(
    depth: Int, range: MappedRange, priority: Int = 0, alias: String? = nil,
    isEnabled: Bool = true
  ) {
    self.depth = depth
    self.range = range
    self.priority = priority
    self.alias = alias
    self.isEnabled = isEnabled
  }
}

/// A disk, for those who ask.
public struct BlockDeviceFacts: Sendable, Equatable {
  /// Its name, such as `disk0`.
  public var name: String
  /// Its place among the devices, such as `/machine/virtio-mmio/0`.
  public var devicePath: String
  /// The file behind it.
  public var path: String
  /// Its size in bytes, as the guest sees it.
  public var byteCount: UInt64
  /// Bytes that the file occupies on the host's disk.
  public var occupiedByteCount: UInt64?
  /// Whether the guest cannot write to it.
  public var isReadOnly: Bool

  /// A disk.
  /// - Parameters:
  ///   - name: its name.
  ///   - devicePath: its place among the devices.
  ///   - path: the file behind it.
  ///   - byteCount: its size.
  ///   - occupiedByteCount: what it occupies on the host's disk.
  ///   - isReadOnly: whether the guest cannot write to it.
  public init(
    name: String, devicePath: String, path: String, byteCount: UInt64,
    occupiedByteCount: UInt64? = nil, isReadOnly: Bool = false
  ) {
    self.name = name
    self.devicePath = devicePath
    self.path = path
    self.byteCount = byteCount
    self.occupiedByteCount = occupiedByteCount
    self.isReadOnly = isReadOnly
  }
}

/// A balloon, for those who ask.
public struct BalloonFacts: Sendable, Equatable {
  /// Bytes of memory that the guest has at present: all of it but what is in the balloon.
  public var actualByteCount: UInt64

  /// What the guest said of its memory last; nil where it has not been asked, or not answered.
  public var statistics: BalloonStatistics?
  /// How old ``statistics`` are.
  public var age: Duration = .zero
  /// How often the guest is asked; nil for not at all.
  public var pollInterval: Duration?

  /// A balloon.
  public init(actualByteCount: UInt64) {
    self.actualByteCount = actualByteCount
  }
}
