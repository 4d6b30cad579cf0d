// How a save writes.

/// Choices of a save.
public struct WriterOptions: Hashable, Sendable {
  /// How pages are compressed, each alone.
  public enum Compression: String, Hashable, Sendable, CaseIterable {
    /// LZ4 where it pays; incompressible memory costs next to nothing.
    case automatic
    /// Every page as it is.
    case none
    /// LZ4 wherever it saves an eighth.
    case lz4
    /// zstd level 1 wherever it saves an eighth: denser and slower.
    case zstd
  }

  /// How pages are compressed.
  public var compression: Compression
  /// Threads that hash and compress, 1…64; `nil` takes as many as there are processors, up to 8.
  public var threads: Int?
  /// The name of the checkpoint this one descends from, if known.
  public var parent: String?
  /// How many bytes go through the page cache, which takes them faster than a disk.
  ///
  /// All others pass it by; `nil` is a sixteenth of this machine's memory. A guest of that size, or
  /// what a larger one sends at first, does not wait for the disk. All of a large one would push
  /// out of the cache what others need.
  public var cachedByteCount: Int?

  /// Makes options.
  public init(
    compression: Compression = .automatic, threads: Int? = nil, parent: String? = nil,
    cachedByteCount: Int? = nil
  ) {
    self.compression = compression
    self.threads = threads
    self.parent = parent
    self.cachedByteCount = cachedByteCount
  }
}
