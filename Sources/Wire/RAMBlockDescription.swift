// RAMBlockDescription.swift: the block that a RAM section announces, and an address within one.

/// A RAM block as the start of a RAM section announces it.
public struct RAMBlockDescription: Equatable, Hashable, Sendable {
  /// The block's name, at most 255 bytes of UTF-8 (`pc.ram`, `0000:00:02.0/vga.vram`).
  public var name: String
  /// How much of the block is in use, in bytes; a multiple of the target page size.
  public var usedLength: UInt64
  /// The size in bytes of the pages that back the block, if it travelled: only with postcopy,
  /// and only for a block whose pages are not the host's ordinary ones.
  public var pageSize: UInt64?
  /// The guest-physical address of the block, if it travelled (capability `x-ignore-shared`).
  public var guestAddress: UInt64?

  /// Describes a block of `usedLength` bytes.
  public init(
    name: String, usedLength: UInt64, pageSize: UInt64? = nil, guestAddress: UInt64? = nil
  ) {
    self.name = name
    self.usedLength = usedLength
    self.pageSize = pageSize
    self.guestAddress = guestAddress
  }
}

/// One target page of the announced RAM.
public struct RAMPageAddress: Hashable, Sendable {
  /// The block, as an index into the list of announced blocks.
  public var blockIndex: Int
  /// The page's first byte within the block; a multiple of the target page size.
  public var offset: UInt64

  /// Names the page at `offset` bytes into the block at `blockIndex`.
  @inlinable
  public init(blockIndex: Int, offset: UInt64) {
    self.blockIndex = blockIndex
    self.offset = offset
  }
}
