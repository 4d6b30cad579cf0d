// What the catalogue says of a checkpoint, and the sums a save ends with.

/// A listed checkpoint, as the catalogue describes it.
public struct CheckpointInfo: Hashable, Sendable {
  /// The name a person gave it, unique in its store.
  public var name: String
  /// Identity: 32 hexadecimal digits, never used again.
  public var id: String
  /// When it was sealed, in seconds since 1970 (UTC).
  public var created: Double
  /// Machine type; empty if unknown.
  public var machine: String
  /// The saved QEMU's version; empty if unknown.
  public var qemuVersion: String
  /// Target architecture; empty if unknown.
  public var architecture: String
  /// The checkpoint that the same machine was saved as or restored from before, if known.
  public var parent: String?
  /// Its RAM blocks, in stream order.
  public var blocks: [CheckpointBlock]
  /// What its pages cost.
  public var summary: CheckpointSummary

  /// The sum of its blocks, in bytes.
  public var ramBytes: UInt64 { summary.ramBytes }
  /// 4 KiB pages that are all zero.
  public var pagesZero: UInt64 { summary.pagesZero }
  /// 4 KiB pages that this save brought into the store.
  public var pagesNew: UInt64 { summary.pagesNew }
  /// 4 KiB pages whose content the store had already, or met earlier in the same save.
  public var pagesKnown: UInt64 { summary.pagesKnown }
  /// Bytes that this save added to the packs.
  public var storedBytes: UInt64 { summary.storedBytes }
}

/// What a save brought: every 4 KiB page is zero, new or known.
public struct CheckpointSummary: Hashable, Sendable {
  /// The sum of the blocks, in bytes.
  public var ramBytes: UInt64
  /// Pages that are all zero.
  public var pagesZero: UInt64
  /// Pages stored by this save.
  public var pagesNew: UInt64
  /// Pages whose content was in the store, or earlier in the same save.
  public var pagesKnown: UInt64
  /// Bytes added to the packs, after compression.
  public var storedBytes: UInt64

  /// Makes a summary from its counts.
  public init(
    ramBytes: UInt64 = 0, pagesZero: UInt64 = 0, pagesNew: UInt64 = 0, pagesKnown: UInt64 = 0,
    storedBytes: UInt64 = 0
  ) {
    self.ramBytes = ramBytes
    self.pagesZero = pagesZero
    self.pagesNew = pagesNew
    self.pagesKnown = pagesKnown
    self.storedBytes = storedBytes
  }
}
