// What a destination holds already: pages that need not travel, because a checkpoint, a dump or an
// image has them.

public import PageHash

/// Pages that are at hand, found by their hashes.
///
/// What it hands out is compared with the hash by whoever asks: it need not have been checked, and
/// may have changed since it was announced. Several threads may call it at once.
public protocol KnownContent: AnyObject, Sendable {
  /// Begins with what takes long, so that it is done when somebody asks; returns at once.
  func prepare()

  /// Gives the first 40 bits of the hash of every page that is held, in parts, zero pages left out;
  /// afterwards, and for what was given already, ``read(_:into:)`` finds the pages.
  ///
  /// - Parameter take: takes a part; one thread calls it at a time. It says whether to go on.
  /// - Throws: why no more can be said; what was given stays so.
  func announce(_ take: ([UInt64]) throws -> Bool) throws

  /// Fills pages of 4096 bytes, one after the other, with what is held under some hashes.
  ///
  /// Pages that lie together are asked for together, as they lie in the machine.
  /// - Parameter pages: as many pages as there are hashes.
  /// - Returns: for each hash whether anything is held and its page was filled.
  func read(_ hashes: [ContentHash], into pages: inout MutableRawSpan) -> [Bool]
}

/// The size of the pages that known content consists of, in bytes.
let knownPageByteCount = Digester.pageByteCount
