// Reading and writing at guest-physical addresses. Every address and length comes from the guest.

extension FlatView {
  // MARK: What devices do: memory only

  /// Copies memory into `target`, all of which is filled unless this throws.
  ///
  /// Registers are refused: a device that reads or writes another's (or its own) registers on the
  /// guest's behalf could be made to wait for itself.
  /// - Throws: `.unmapped`, `.notMemory`, `.wraps`.
  public func read(
    at address: GuestAddress, into target: inout MutableRawSpan
  ) throws(GuestMemoryError) {
    var done = 0
    let total = target.byteCount
    while done < total {
      let piece = try piece(.read, at: address, offset: done, byteCount: total - done)
      piece.block.copy(from: piece.offset, byteCount: piece.byteCount, into: &target, at: done)
      done += piece.byteCount
    }
  }

  /// Copies `source` into memory and marks it dirty.
  ///
  /// Nothing is written unless all of it can be.
  /// - Throws: `.unmapped`, `.notMemory`, `.readOnly`, `.wraps`.
  public func write(at address: GuestAddress, _ source: RawSpan) throws(GuestMemoryError) {
    let total = source.byteCount
    var checked = 0
    while checked < total {
      checked += try piece(.write, at: address, offset: checked, byteCount: total - checked)
        .byteCount
    }
    var done = 0
    while done < total {
      let piece = try piece(.write, at: address, offset: done, byteCount: total - done)
      try piece.block.write(
        offset: piece.offset, source.extracting(done..<done + piece.byteCount))
      done += piece.byteCount
    }
  }

  /// The memory behind a range of addresses, in pieces, for transfers straight into and out of it.
  ///
  /// Every piece holds its block, so the memory stays for as long as the pieces do.
  /// - Throws: `.unmapped`, `.notMemory`, `.wraps`; `.readOnly` for `.write`.
  public func pieces(
    _ action: MemoryAction, at address: GuestAddress, byteCount: Int
  ) throws(GuestMemoryError) -> [MemoryPiece] {
    guard byteCount >= 0 else {
      throw .wraps(action: action, address: address, byteCount: byteCount)
    }
    var pieces: [MemoryPiece] = []
    var done = 0
    while done < byteCount {
      let piece = try piece(action, at: address, offset: done, byteCount: byteCount - done)
      pieces.append(piece)
      done += piece.byteCount
    }
    return pieces
  }

  /// Lends memory that lies in one piece, to be read.
  /// - Throws: `.notContiguous`, what `pieces` throws, or what `body` throws.
  public func withRAM<R>(
    at address: GuestAddress, byteCount: Int, _ body: (RawSpan) throws(GuestMemoryError) -> R
  ) throws(GuestMemoryError) -> R {
    let piece = try wholePiece(.read, at: address, byteCount: byteCount)
    return try piece.block.withBytes(offset: piece.offset, byteCount: byteCount, body)
  }

  /// Lends memory that lies in one piece, to be read and written, and marks it dirty afterwards.
  /// - Throws: `.notContiguous`, what `pieces` throws, or what `body` throws.
  public func withMutableRAM<R>(
    at address: GuestAddress, byteCount: Int,
    _ body: (inout MutableRawSpan) throws(GuestMemoryError) -> R
  ) throws(GuestMemoryError) -> R {
    let piece = try wholePiece(.write, at: address, byteCount: byteCount)
    return try piece.block.withMutableBytes(offset: piece.offset, byteCount: byteCount, body)
  }

  private func wholePiece(
    _ action: MemoryAction, at address: GuestAddress, byteCount: Int
  ) throws(GuestMemoryError) -> MemoryPiece {
    let piece = try piece(action, at: address, offset: 0, byteCount: byteCount)
    guard piece.byteCount == byteCount else {
      throw .notContiguous(
        address: address, byteCount: byteCount, contiguousByteCount: piece.byteCount)
    }
    return piece
  }

  /// The longest piece of one block that begins `offset` bytes behind an address.
  private func piece(
    _ action: MemoryAction, at address: GuestAddress, offset: Int, byteCount: Int
  ) throws(GuestMemoryError) -> MemoryPiece {
    guard offset >= 0, byteCount >= 0, let start = address.advanced(by: UInt64(offset)),
      start.advanced(by: UInt64(byteCount)) != nil
    else { throw .wraps(action: action, address: address, byteCount: byteCount) }
    guard let index = index(at: start) else {
      throw .unmapped(action: action, address: start, byteCount: byteCount)
    }
    let range = ranges[index]
    guard let (block, blockOffset) = range.ram else {
      throw .notMemory(action: action, address: start, region: range.region.name)
    }
    if action == .write, range.isReadOnly {
      throw .readOnly(address: start, region: range.region.name)
    }
    let skipped = start.rawValue - range.guest.start.rawValue
    let room = Int(range.guest.byteCount - skipped)
    return MemoryPiece(
      block: block, offset: blockOffset + Int(skipped), byteCount: min(room, byteCount))
  }

  // MARK: What processors do: memory and registers

  /// Reads as a processor does: 1, 2, 4 or 8 bytes, lowest first, of memory or registers.
  ///
  /// Where there is nothing, all bits are set, as on a bus that nobody drives.
  public func load(at address: GuestAddress, byteCount: Int) -> UInt64 {
    precondition(Self.isWordSize(byteCount), "a processor reads 1, 2, 4 or 8 bytes")
    let allOnes = UInt64.max >> UInt64(64 - byteCount * 8)
    guard let index = index(at: address) else {
      return byteCount == 1 ? allOnes : loadByBytes(at: address, byteCount: byteCount)
    }
    let range = ranges[index]
    let skipped = address.rawValue - range.guest.start.rawValue
    guard range.guest.byteCount - skipped >= UInt64(byteCount) else {
      return loadByBytes(at: address, byteCount: byteCount)
    }
    if let handler = range.handler {
      let offset = range.offsetInRegion + skipped
      return handler.read(offset: offset, byteCount: byteCount) & allOnes
    }
    guard let (block, offset) = range.ram else { return allOnes }
    return block.loadWord(offset: offset + Int(skipped), byteCount: byteCount)
  }

  /// Writes as a processor does: the lowest 1, 2, 4 or 8 bytes of a value, lowest first.
  ///
  /// Memory is marked dirty. Writes to ROM, and where there is nothing, have no effect.
  public func store(at address: GuestAddress, byteCount: Int, value: UInt64) {
    precondition(Self.isWordSize(byteCount), "a processor writes 1, 2, 4 or 8 bytes")
    let value = value & UInt64.max >> UInt64(64 - byteCount * 8)
    guard let index = index(at: address) else {
      if byteCount > 1 { storeByBytes(at: address, byteCount: byteCount, value: value) }
      return
    }
    let range = ranges[index]
    let skipped = address.rawValue - range.guest.start.rawValue
    guard range.guest.byteCount - skipped >= UInt64(byteCount) else {
      storeByBytes(at: address, byteCount: byteCount, value: value)
      return
    }
    if let handler = range.handler {
      handler.write(
        offset: range.offsetInRegion + skipped, byteCount: byteCount, value: value)
    } else if let (block, offset) = range.ram, !range.isReadOnly {
      block.storeWord(offset: offset + Int(skipped), byteCount: byteCount, value: value)
    }
  }

  @inline(__always)
  private static func isWordSize(_ byteCount: Int) -> Bool {
    byteCount > 0 && byteCount <= 8 && byteCount.nonzeroBitCount == 1
  }

  /// An access that begins in one range and ends in another (or beyond the last address).
  private func loadByBytes(at address: GuestAddress, byteCount: Int) -> UInt64 {
    var value: UInt64 = 0
    for index in 0..<byteCount {
      let byte = address.advanced(by: UInt64(index)).map { load(at: $0, byteCount: 1) } ?? 0xff
      value |= byte << UInt64(index * 8)
    }
    return value
  }

  private func storeByBytes(at address: GuestAddress, byteCount: Int, value: UInt64) {
    for index in 0..<byteCount {
      guard let place = address.advanced(by: UInt64(index)) else { return }
      store(at: place, byteCount: 1, value: value >> UInt64(index * 8) & 0xff)
    }
  }
}

/// A part of a RAM block, in one piece.
public struct MemoryPiece: Sendable {
  /// The block, which lives as long as this value.
  public let block: RAMBlock
  /// Bytes from the block's beginning.
  public let offset: Int
  /// How many bytes; inside the block.
  public let byteCount: Int

  /// Marks the piece as written, for every client whose bitmap is kept.
  public func markDirty() {
    block.dirty.mark(block.ramRange(offset: offset, byteCount: byteCount))
  }
}
