// All RAM of a machine: its blocks, and the dirty bitmaps over all of them.

internal import Synchronization

/// The RAM blocks of a machine.
public final class RAMList: Sendable {
  /// Which pages were written, over the address space in which every block has its place.
  public let dirty = DirtyMemory()

  private let layout = RAMLayout()
  private let list = Mutex<[RAMBlock]>([])

  /// A list without blocks.
  public init() {}

  /// The blocks in the order in which they were added.
  public var blocks: [RAMBlock] { list.withLock { $0 } }

  /// The block of that name, if there is one.
  public func block(named name: String) -> RAMBlock? {
    list.withLock { $0.first { $0.name == name } }
  }

  /// The block that holds a place, if any does.
  public func block(at address: RAMAddress) -> RAMBlock? {
    list.withLock { blocks in
      blocks.first { block in
        address >= block.ramOffset && address < block.ramOffset.advanced(by: block.byteCount)
      }
    }
  }

  /// Makes a block of memory that reads as zeros (or as its file) and takes none of the host's
  /// until it is touched.
  ///
  /// - Parameters:
  ///   - name: 1 to 255 bytes of UTF-8 without NUL, not used by another block: it goes on the wire.
  ///   - byteCount: a multiple of the size of its pages above 0.
  ///   - backing: where the memory comes from.
  ///   - isMigratable: whether its content belongs to the machine's state.
  public func add(
    name: String, byteCount: Int, backing: RAMBacking = .anonymous, isMigratable: Bool = true
  ) throws(GuestMemoryError) -> RAMBlock {
    guard (1...255).contains(name.utf8.count), !name.utf8.contains(0) else {
      throw .badBlock(name: name, reason: "a name has 1 to 255 bytes and no NUL")
    }
    let unit = backing == .hugePages ? MemoryMapping.hugePageSize : MemoryMapping.hostPageSize
    guard byteCount > 0, byteCount % unit == 0, byteCount % RAMRange.pageSize == 0 else {
      throw .badBlock(
        name: name, reason: "its size of \(byteCount) bytes is not a multiple of \(unit) above 0")
    }
    guard byteCount <= RAMLayout.byteLimit, let place = layout.take(byteCount: byteCount) else {
      throw .noPlace(name: name, byteCount: byteCount)
    }
    let pages = RAMRange(
      covering: RAMAddress(UInt64(place.range.lowerBound)), byteCount: place.range.count)
    try dirty.grow(toPageCount: pages.pages.upperBound)
    if place.wasUsed {
      for client in DirtyClient.allCases { dirty.clear(pages, for: client) }
    }
    let block = try RAMBlock(
      name: name, byteCount: byteCount, backing: backing, isMigratable: isMigratable, place: place,
      dirty: dirty)
    let isNew = list.withLock { blocks in
      if blocks.contains(where: { $0.name == name }) { return false }
      blocks.append(block)
      return true
    }
    guard isNew else {
      throw .badBlock(name: name, reason: "another block has that name")
    }
    return block
  }

  /// Takes a block out of the list.
  ///
  /// Regions that show it to the guest have to be taken out of the layout first. Its memory and its
  /// place stay until whoever still reads it lets it go.
  public func remove(_ block: RAMBlock) {
    list.withLock { $0.removeAll { $0 === block } }
  }
}
