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
  /// What its memory is made of; `share()` changes it.
  public var backing: RAMBacking { source.withLock { $0.backing } }
  /// Where it begins in the RAM list's address space: a multiple of 64 pages.
  public let ramOffset: RAMAddress
  /// Whether its content belongs to the machine's state: a firmware image's need not move.
  public let isMigratable: Bool
  /// The bitmaps of the list that it belongs to.
  public let dirty: DirtyMemory

  let mapping: MemoryMapping
  private let place: RAMPlace
  private let source: Mutex<Source>

  /// Where the memory comes from.
  private struct Source: ~Copyable {
    var backing: RAMBacking
    var file: OwnedDescriptor?
    /// The file once more where it is shared memory: see `untouchedRuns`.
    var view: MemoryMapping?
  }

  init(
    name: String, byteCount: Int, backing: RAMBacking, isMigratable: Bool,
    place: consuming RAMPlace, dirty: DirtyMemory
  ) throws(GuestMemoryError) {
    var source = Source(backing: backing, file: nil)
    switch backing {
    case .anonymous:
      mapping = try MemoryMapping(anonymous: byteCount, for: name)
      mapping.preferHugePages()
    case .sharedMemory:
      let file = try MemoryFile.shared(byteCount: byteCount, for: name)
      mapping = try MemoryMapping(byteCount, of: file, isShared: true, for: name)
      source.file = consume file
    case .hugePages:
      let file = try MemoryFile.shared(byteCount: byteCount, for: name, isHuge: true)
      mapping = try MemoryMapping(byteCount, ofHugePages: file, for: name)
      source.file = consume file
    case .privateFile(let path):
      let file = try MemoryFile.existing(path, byteCount: byteCount)
      mapping = try MemoryMapping(byteCount, of: file, isShared: false, for: name)
      source.file = consume file
    }
    self.source = Mutex(source)
    self.name = name
    self.byteCount = byteCount
    pageSize = backing == .hugePages ? MemoryMapping.hugePageSize : MemoryMapping.hostPageSize
    self.isMigratable = isMigratable
    self.dirty = dirty
    ramOffset = RAMAddress(UInt64(place.range.lowerBound))
    self.place = place
  }

  /// The size in bytes of the pages that it is made of: the unit in which it is given back, and
  /// filled while it is used.
  ///
  /// KVM's dirty bitmaps count the host's ordinary pages in any case.
  public let pageSize: Int

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
    try source.withLock { source throws(TransportError) in
      guard source.backing.isShared else { return nil }
      return try source.file?.duplicate()
    }
  }

  /// Turns memory of this process alone into shared memory with the same content and addresses, so
  /// that another process can map it; memory that is shared already stays as it is.
  ///
  /// To be called while nobody writes to the block: what is written meanwhile may be lost.
  /// - Throws: where there is too little memory for a second copy of the content, which is held for
  ///   the time of the call, or where the memory is a file's.
  public func share() throws(GuestMemoryError) {
    try source.withLock { source throws(GuestMemoryError) in
      switch source.backing {
      case .sharedMemory, .hugePages: return
      case .privateFile:
        throw .badBlock(name: name, reason: "it is mapped from a file and cannot be shared")
      case .anonymous:
        let file = try MemoryFile.shared(byteCount: byteCount, for: name)
        try mapping.copy(into: file, for: name)
        try mapping.replace(by: file, for: name)
        source = Source(backing: .sharedMemory, file: file)
      }
    }
  }

  /// The pages of a range of bytes that hold nothing; see `untouchedRuns(offset:byteCount:)`.
  func untouchedRuns(in range: Range<Int>) -> [Range<Int>] {
    source.withLock { source in
      switch source.backing {
      case .hugePages, .privateFile: return []
      case .anonymous: return mapping.untouchedRuns(in: range)
      case .sharedMemory:
        guard let number = source.file?.raw else { return [] }
        if source.view == nil {
          source.view = source.file?.mapAnew(byteCount, for: name)
        }
        return source.view?.untouchedRuns(ofFile: number, in: range) ?? []
      }
    }
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
