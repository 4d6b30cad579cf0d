// What verify, collect and usage tell.

/// How far a long operation has come.
public struct StoreProgress: Hashable, Sendable {
  /// Units done, of the kind the operation counts (bytes for verify and collect).
  public var done: UInt64
  /// Units there are.
  public var total: UInt64

  /// Makes a progress.
  public init(done: UInt64, total: UInt64) {
    self.done = done
    self.total = total
  }
}

/// What `verify` found.
public struct VerifyReport: Hashable, Sendable {
  /// Checkpoints looked at.
  public var checkpoints: Int = 0
  /// 4 KiB pages of checkpoints accounted for, zero pages included.
  public var pages: UInt64 = 0
  /// Different stored pages read and hashed.
  public var storedPages: UInt64 = 0
  /// Bytes of packs read.
  public var bytesRead: UInt64 = 0
  /// Everything that is not as it was written, up to `VerifyReport.damageLimit`.
  public var damages: [Damage] = []
  /// How many damages there are, listed or not.
  public var damageCount: UInt64 = 0
  /// Nothing is damaged.
  public var isClean: Bool { damageCount == 0 }

  /// No more damages than this are listed one by one.
  public static let damageLimit = 10_000

  /// An empty report.
  public init() {}

  mutating func add(_ damage: Damage) {
    damageCount += 1
    if damages.count < VerifyReport.damageLimit { damages.append(damage) }
  }
}

/// What `collect` gave back.
public struct CollectReport: Hashable, Sendable {
  /// Bytes of disk freed.
  public var bytesFreed: UInt64 = 0
  /// Stored pages that no checkpoint needed any more.
  public var pagesFreed: UInt64 = 0
  /// Pack files removed.
  public var packsRemoved: Int = 0
  /// Pack files whose live pages were moved together.
  public var packsCompacted: Int = 0
  /// Left-overs of saves that never ended.
  public var sessionsRemoved: Int = 0
  /// Stored pages that are still needed.
  public var pagesLive: UInt64 = 0

  /// An empty report.
  public init() {}
}

/// What a store takes on disk, in bytes.
public struct StoreUsage: Hashable, Sendable {
  /// Pages.
  public var packs: UInt64 = 0
  /// The page table and its hash slots.
  public var index: UInt64 = 0
  /// Manifests.
  public var manifests: UInt64 = 0
  /// The catalogue.
  public var catalogue: UInt64 = 0
  /// Flat images for sharing clones: a cache, may be deleted at any time.
  public var images: UInt64 = 0
  /// Saves that are going on, or never ended.
  public var sessions: UInt64 = 0
  /// Different pages stored.
  public var storedPages: UInt64 = 0

  /// An empty account.
  public init() {}
}
