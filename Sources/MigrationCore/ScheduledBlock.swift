// A RAM block as the scheduler counts it: in host pages, the unit in which a destination's kernel
// fills memory (4 KiB, or 2 MiB and more where the block lives in huge pages).

/// A RAM block's length and the size of the pages it is placed in.
public struct ScheduledBlock: Sendable, Equatable {
  /// The block's length in bytes.
  public let usedLength: UInt64
  /// The destination's page size for this block, in bytes; a power of two.
  public let pageSize: Int

  /// A block; `pageSize` must be a power of two.
  public init(usedLength: UInt64, pageSize: Int) {
    precondition(pageSize > 0 && pageSize & (pageSize - 1) == 0, "page sizes are powers of two")
    self.usedLength = usedLength
    self.pageSize = pageSize
  }

  /// How many host pages the block has, the last one possibly cut short by the block's end.
  public var pageCount: Int {
    Int((usedLength + UInt64(pageSize) - 1) / UInt64(pageSize))
  }

  /// The bytes of host page `page` that lie inside the block.
  public func byteCount(ofPage page: Int) -> Int {
    let start = UInt64(page) * UInt64(pageSize)
    return Int(min(UInt64(pageSize), usedLength - start))
  }
}
