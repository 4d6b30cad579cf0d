// A listed checkpoint, opened for reading.

/// A saved machine. All methods may be called from any number of threads at once.
public final class Checkpoint: Sendable {
  /// What the catalogue says of it.
  public let info: CheckpointInfo
  /// Its RAM blocks, in stream order.
  public var blocks: [CheckpointBlock] { info.blocks }
  /// Everything but its RAM.
  public let state: CheckpointState

  init(info: CheckpointInfo, state: CheckpointState) {
    self.info = info
    self.state = state
  }

  /// Whether a page is zero or stored, without reading it.
  ///
  /// - Parameters:
  ///   - block: index into `blocks`.
  ///   - offset: byte offset in the block, a multiple of 4096.
  public func pageKind(block: Int, offset: UInt64) throws(StoreError) -> PageKind { .zero }

  /// Reads pages, each verified against its hash before the call returns; a page that is damaged
  /// is never handed out: the destination is zeroed and the error names the page.
  ///
  /// - Parameters:
  ///   - block: index into `blocks`.
  ///   - offset: byte offset in the block, a multiple of 4096.
  ///   - destination: a multiple of 4096 bytes; all of it is filled.
  /// - Returns: `.zero` if every page read is zero, else the first stored page.
  @discardableResult
  public func read(
    block: Int, offset: UInt64, into destination: inout MutableRawSpan
  ) throws(StoreError) -> PageKind { .zero }

  /// Reads pages into an array, as `read(block:offset:into:)` does into a span.
  @discardableResult
  public func read(
    block: Int, offset: UInt64, into destination: inout [UInt8]
  ) throws(StoreError) -> PageKind {
    var span = destination.mutableSpan
    // SAFETY: every byte pattern is a valid UInt8.
    var bytes = unsafe span.mutableBytes
    return try read(block: block, offset: offset, into: &bytes)
  }

  /// Reads pages into memory that the caller vouches for, as `read(block:offset:into:)` does.
  @discardableResult @unsafe
  public func read(
    block: Int, offset: UInt64, into destination: UnsafeMutableRawBufferPointer
  ) throws(StoreError) -> PageKind { .zero }

  /// The order in which a guest asked for pages at an earlier restore; empty if none was recorded.
  public var demandOrder: [DemandedPage] { [] }

  /// Keeps the order in which a guest asked for pages, for the next restore; replaces what was
  /// kept before.
  public func recordDemandOrder(_ order: [DemandedPage]) throws(StoreError) {}

  /// The path of a file that holds a block's whole content, byte for byte, to be mapped privately
  /// by many guests at once. Made at the first call (zero pages stay holes), then reused.
  public func flatImage(block: Int) throws(StoreError) -> String { "" }

  /// How many of a block's pages are zero, only this checkpoint's, or other checkpoints' too.
  public func pageStatistics(block: Int) throws(StoreError) -> PageStatistics { PageStatistics() }
}

/// A page that a guest asked for.
public struct DemandedPage: Hashable, Sendable {
  /// Index into the checkpoint's blocks.
  public var block: Int
  /// Byte offset in the block.
  public var offset: UInt64

  /// Names a page.
  public init(block: Int, offset: UInt64) {
    self.block = block
    self.offset = offset
  }
}

/// What a block's 4 KiB pages are.
public struct PageStatistics: Hashable, Sendable {
  /// All zero.
  public var zero: UInt64 = 0
  /// Stored, and no other checkpoint has the same content.
  public var unique: UInt64 = 0
  /// Stored, and another listed checkpoint has the same content.
  public var shared: UInt64 = 0

  /// No pages.
  public init() {}
}
