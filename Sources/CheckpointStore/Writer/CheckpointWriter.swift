// A save in progress.

/// Takes a machine's memory and state, and lists it as a checkpoint once it is whole.
///
/// One thread at a time calls its methods; hashing, compression and writing happen on its own
/// threads, with bounded memory. Until `seal` returns nothing is listed; a writer that is dropped,
/// abandoned or killed leaves nothing but what the next `collect` removes.
public final class CheckpointWriter {
  /// The name under which the checkpoint will be listed.
  public let name: String

  init(name: String) { self.name = name }

  /// Announces the RAM blocks; once, before any page.
  public func prepare(blocks: [CheckpointBlock]) throws(StoreError) {}

  /// Stores pages. The last put of a page is the one that counts.
  ///
  /// - Parameters:
  ///   - block: index into the prepared blocks.
  ///   - offset: byte offset in the block, a multiple of 4096.
  ///   - content: one or more pages: a multiple of 4096 bytes. It is copied before the call returns.
  public func put(block: Int, offset: UInt64, content: RawSpan) throws(StoreError) {}

  /// Makes pages zero.
  public func putZero(block: Int, offset: UInt64, byteCount: Int) throws(StoreError) {}

  /// Reads back what was put last; pages never put are zero.
  ///
  /// - Parameters:
  ///   - block: index into the prepared blocks.
  ///   - offset: byte offset in the block, a multiple of 4096.
  ///   - destination: a multiple of 4096 bytes; all of it is filled.
  public func read(
    block: Int, offset: UInt64, into destination: inout MutableRawSpan
  ) throws(StoreError) {}

  /// Reads back into an array, as `read(block:offset:into:)` does into a span.
  public func read(block: Int, offset: UInt64, into destination: inout [UInt8]) throws(StoreError) {
    var span = destination.mutableSpan
    // SAFETY: every byte pattern is a valid UInt8.
    var bytes = unsafe span.mutableBytes
    try read(block: block, offset: offset, into: &bytes)
  }

  /// Writes everything down and lists the checkpoint: afterwards it survives power loss.
  public func seal(_ state: CheckpointState) throws(StoreError) -> CheckpointSummary {
    CheckpointSummary()
  }

  /// Gives the save up and frees what it took. Does nothing after `seal`.
  public func abandon() {}
}
