// A listed checkpoint, opened for reading.

/// A saved machine; all methods may be called from any number of threads at once.
///
/// While it is open, no collect frees what it needs, even if it is deleted meanwhile.
public final class Checkpoint: Sendable {
  /// What the catalogue says of it.
  public let info: CheckpointInfo
  /// Its RAM blocks, in stream order.
  public var blocks: [CheckpointBlock] { info.blocks }
  /// Everything but its RAM.
  public var state: CheckpointState { manifest.description.state }

  let store: Store
  let manifest: Manifest

  init(store: Store, row: CatalogueRow, manifest: Manifest) {
    self.store = store
    self.manifest = manifest
    info = row.info
  }

  /// Whether a page is zero or stored, without reading it.
  ///
  /// - Parameters:
  ///   - block: index into `blocks`.
  ///   - offset: byte offset in the block, a multiple of 4096.
  public func pageKind(block: Int, offset: UInt64) throws(StoreError) -> PageKind {
    try check(block, offset, storePageSize)
    let reference = try manifest.reference(block: block, page: offset / UInt64(storePageSize))
    return reference == .zero ? .zero : .stored(reference)
  }

  /// Reads pages, each verified against its hash before the call returns.
  ///
  /// A page that is damaged is never handed out: its place is zeroed and the error names the page.
  ///
  /// - Parameters:
  ///   - block: index into `blocks`.
  ///   - offset: byte offset in the block, a multiple of 4096.
  ///   - destination: a multiple of 4096 bytes; all of it is filled.
  /// - Returns: `.zero` if every page read is zero, else the first stored page.
  @discardableResult
  public func read(
    block: Int, offset: UInt64, into destination: inout MutableRawSpan
  ) throws(StoreError) -> PageKind {
    try check(block, offset, destination.byteCount)
    var kind = PageKind.zero
    let firstPage = offset / UInt64(storePageSize)
    for page in 0..<destination.byteCount / storePageSize {
      let start = page * storePageSize
      var part = destination._mutatingExtracting(start..<start + storePageSize)
      let reference = try manifest.reference(block: block, page: firstPage + UInt64(page))
      if reference == .zero {
        zeroBytes(&part)
        continue
      }
      if kind == .zero { kind = .stored(reference) }
      do throws(StoreError) {
        try store.source.read(reference, into: &part)
      } catch {
        throw named(error, block: block, page: firstPage + UInt64(page))
      }
    }
    return kind
  }

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
  ) throws(StoreError) -> PageKind {
    // SAFETY: the caller gives this memory away for the length of the call.
    var span = unsafe MutableRawSpan(_unsafeBytes: destination)
    return try read(block: block, offset: offset, into: &span)
  }

  /// Says of a damage whose page it is.
  func named(_ error: StoreError, block: Int, page: UInt64) -> StoreError {
    guard case .damaged(var damage) = error else { return error }
    damage.checkpoint = info.name
    damage.block = blocks[block].name
    damage.pageOffset = page * UInt64(storePageSize)
    return .damaged(damage)
  }

  func check(_ block: Int, _ offset: UInt64, _ byteCount: Int) throws(StoreError) {
    guard blocks.indices.contains(block) else {
      throw .invalidRequest("there is no RAM block number \(block) in \"\(info.name)\".")
    }
    let size = blocks[block].byteCount
    guard offset % UInt64(storePageSize) == 0, byteCount % storePageSize == 0, offset <= size,
      UInt64(byteCount) <= size - offset
    else {
      throw .invalidRequest(
        "\(byteCount) bytes at offset \(offset) are not whole pages of the RAM block "
          + "\(blocks[block].name) of \"\(info.name)\", which is \(size) bytes long.")
    }
  }
}
