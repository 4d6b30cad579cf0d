// A run of guest addresses behind which there is one thing.

/// A run of guest-physical addresses that one region answers for.
public struct FlatRange: Sendable {
  /// The addresses.
  public let guest: GuestRange
  /// The region seen there: RAM, ROM or registers, never a container or an alias.
  public let region: MemoryRegion
  /// Where in the region the run begins, in bytes.
  public let offsetInRegion: UInt64
  /// Whether the guest can only read it.
  public let isReadOnly: Bool
  /// For whom the guest's writes have to be noticed; empty for ROM and registers.
  public let logClients: DirtyClients

  /// The memory behind it, and where in that block the run begins; nil for registers.
  public var ram: (block: RAMBlock, offset: Int)? {
    guard case .ram(let block, let offset) = region.content else { return nil }
    return (block, offset + Int(offsetInRegion))
  }

  /// The registers behind it; nil for memory.
  public var handler: (any MMIOHandler)? {
    guard case .mmio(let handler) = region.content else { return nil }
    return handler
  }

  /// The pages of RAM behind it, or nil for registers.
  public var ramRange: RAMRange? {
    ram.map { $0.block.ramRange(offset: $0.offset, byteCount: Int(guest.byteCount)) }
  }

  /// Whether both show the same thing at the same place in the same way; who logs it may differ.
  public func isSameMapping(as other: FlatRange) -> Bool {
    guest == other.guest && region === other.region && offsetInRegion == other.offsetInRegion
      && isReadOnly == other.isReadOnly
  }

  /// Whether the other continues this one, so that the two can be one.
  func isContinued(by next: FlatRange) -> Bool {
    guest.end == next.guest.start && region === next.region
      && offsetInRegion + guest.byteCount == next.offsetInRegion
      && isReadOnly == next.isReadOnly && logClients == next.logClients
  }
}

extension FlatRange: CustomStringConvertible {
  /// A line as in a listing: addresses, kind, name, offset.
  public var description: String {
    let kind = ram == nil ? "mmio" : isReadOnly ? "rom" : "ram"
    return "\(guest) \(kind) \(region.name) @0x\(String(offsetInRegion, radix: 16))"
  }
}
