// A piece of guest memory as KVM knows it.

/// A range of guest-physical addresses backed by memory of this process.
public struct KVMMemorySlot: Equatable, Sendable {
  /// The slot's number, below what ``KVMCapability/memorySlotCount`` answers.
  public var number: UInt32
  /// The guest-physical address of its first byte; a multiple of the host's page size.
  public var guestAddress: UInt64
  /// Its size in bytes, a multiple of the host's page size; 0 takes the slot away.
  public var byteCount: UInt64
  /// The address of its first byte in this process; a multiple of the host's page size.
  public var hostAddress: UInt
  /// Whether the guest's writes are logged.
  public var isLogged: Bool
  /// Whether the guest's writes exit instead of changing the memory.
  public var isReadOnly: Bool

  /// A slot.
  public init(
    number: UInt32, guestAddress: UInt64, byteCount: UInt64, hostAddress: UInt,
    isLogged: Bool = false, isReadOnly: Bool = false
  ) {
    self.number = number
    self.guestAddress = guestAddress
    self.byteCount = byteCount
    self.hostAddress = hostAddress
    self.isLogged = isLogged
    self.isReadOnly = isReadOnly
  }
}
