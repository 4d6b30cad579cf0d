// A named run of guest memory, as the host holds it.

internal import Glibc
internal import Synchronization
public import Transport

/// A block of RAM: memory of the host, and a place in the RAM list's address space.
///
/// Where (and whether) the guest sees it is for memory regions to say. The memory lives as long as
/// the block; whoever uses it (a flat view that is still being read, say) keeps the block. Any
/// thread may use any method: the guest writes at the same time, so what is read can change
/// between two readings, and what must be consistent is copied once and then judged.
@safe
public final class RAMBlock: Sendable {
  /// The name under which QEMU and we put it on the wire, as `pc.ram`; unique in its RAM list.
  public let name: String
  /// Its size, whole pages of the host.
  public let byteCount: Int
  /// What its memory is made of.
  public let backing: RAMBacking
  /// Where it begins in the RAM list's address space: a multiple of 64 pages.
  public let ramOffset: RAMAddress
  /// Whether its content belongs to the machine's state: a firmware image's need not move.
  public let isMigratable: Bool
  /// The bitmaps of the list that it belongs to.
  public let dirty: DirtyMemory

  let mapping: MemoryMapping
  private let place: RAMPlace
  private let descriptor: OwnedDescriptor?

  init(
    name: String, byteCount: Int, backing: RAMBacking, isMigratable: Bool,
    place: consuming RAMPlace, dirty: DirtyMemory
  ) throws(GuestMemoryError) {
    switch backing {
    case .anonymous:
      descriptor = nil
      mapping = try MemoryMapping(anonymous: byteCount, for: name)
    case .sharedMemory:
      let file = try MemoryFile.shared(byteCount: byteCount, for: name)
      mapping = try MemoryMapping(byteCount, of: file, isShared: true, for: name)
      descriptor = consume file
    case .hugePages:
      let file = try MemoryFile.shared(byteCount: byteCount, for: name, isHuge: true)
      mapping = try MemoryMapping(byteCount, ofHugePages: file, for: name)
      descriptor = consume file
    case .privateFile(let path):
      let file = try MemoryFile.existing(path, byteCount: byteCount)
      mapping = try MemoryMapping(byteCount, of: file, isShared: false, for: name)
      descriptor = consume file
    }
    self.name = name
    self.byteCount = byteCount
    self.backing = backing
    self.isMigratable = isMigratable
    self.dirty = dirty
    ramOffset = RAMAddress(UInt64(place.range.lowerBound))
    self.place = place
  }

  /// The size in bytes of the pages that it is made of: the unit in which it is given back, and
  /// filled while it is used.
  ///
  /// KVM's dirty bitmaps count the host's ordinary pages in any case.
  public var pageSize: Int {
    backing == .hugePages ? MemoryMapping.hugePageSize : MemoryMapping.hostPageSize
  }

  /// How many pages of 4096 bytes it has.
  public var pageCount: Int { byteCount / RAMRange.pageSize }

  /// All of it, in the RAM list's address space.
  public var ramRange: RAMRange { RAMRange(covering: ramOffset, byteCount: byteCount) }

  /// A part of it, as the pages that hold it in the RAM list's address space.
  /// - Parameter offset: bytes from its beginning; must lie inside, with all of `byteCount`.
  public func ramRange(offset: Int, byteCount: Int) -> RAMRange {
    precondition(
      offset >= 0 && byteCount >= 0 && byteCount <= self.byteCount - offset,
      "a range inside its RAM block")
    return RAMRange(covering: ramOffset.advanced(by: offset), byteCount: byteCount)
  }

  /// The address of its first byte in this process, valid while the block lives: for the kernel.
  public var hostAddress: UInt {
    // SAFETY: the address leaves as a number; nothing is read or written here.
    unsafe UInt(bitPattern: mapping.base)
  }

  /// A second descriptor of its shared memory, for mapping it elsewhere; nil for other backings.
  public func duplicateDescriptor() throws(TransportError) -> OwnedDescriptor? {
    guard backing.isShared else { return nil }
    guard descriptor != nil else { return nil }
    return try descriptor?.duplicate()
  }

  /// Checks a range that somebody else names.
  func check(offset: Int, byteCount: Int) throws(GuestMemoryError) {
    guard offset >= 0, byteCount >= 0, offset <= self.byteCount,
      byteCount <= self.byteCount - offset
    else {
      throw .outsideBlock(
        name: name, offset: offset, byteCount: byteCount, blockByteCount: self.byteCount)
    }
  }
}
