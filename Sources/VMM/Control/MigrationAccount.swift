// How far a migration is, as the machine tells the control plane.

public import MigrationEngine
public import QMP
public import Transport

/// How far a migration is, as `query-migrate` tells it.
///
/// What is nil is left out of the answer.
public struct MigrationAccount: Sendable, Equatable {
  /// The state, in QEMU's words.
  public var status: MigrationStatus
  /// Whether the machine goes or comes; an incoming one tells less.
  public var isIncoming: Bool
  /// Milliseconds since it began, or that it took.
  public var totalMilliseconds: Int?
  /// Milliseconds that the machine stood still.
  public var downtimeMilliseconds: Int?
  /// Milliseconds that it would stand still if it were stopped now.
  public var expectedDowntimeMilliseconds: Int?
  /// Milliseconds spent before the first page.
  public var setupMilliseconds: Int?
  /// The share of the time that the processors rest, in percent; nil while they do not.
  public var throttlePercent: Int?
  /// Why it failed.
  public var failure: String?
  /// What forbids a migration at present.
  public var blockers: [String]
  /// Where an incoming one listens, the real port included.
  public var listeningAddresses: [MigrationURI]
  /// How long all processors of an incoming machine waited for pages at once, in milliseconds.
  public var blocktimeMilliseconds: Int?
  /// How long each of them waited, in their order.
  public var processorBlocktimeMilliseconds: [Int]?
  /// How long pages took that an incoming machine waited for.
  public var pageLatency: LatencySummary?
  /// The account of the memory; nil before it begins, and for an incoming one.
  public var ram: RAM?
  /// The account of pages that went as hashes; nil without the capability `x-known-pages`.
  public var known: Known?

  /// The account of pages that the destination held.
  public struct Known: Sendable, Equatable {
    /// Pages that it announced.
    public var announcedPageCount: UInt64 = 0
    /// Pages that went as hashes, each time they did.
    public var hashedPageCount: UInt64 = 0
    /// Pages of these that it did not hold after all.
    public var missedPageCount: UInt64 = 0
    /// Bytes of content that did not have to go.
    public var savedByteCount: UInt64 = 0

    /// An account of nothing.
    public init() {}
  }

  /// The account of the memory.
  public struct RAM: Sendable, Equatable {
    /// Bytes sent.
    public var transferredByteCount: UInt64 = 0
    /// Bytes that are still to be sent.
    public var remainingByteCount: UInt64 = 0
    /// Bytes of RAM in all.
    public var totalByteCount: UInt64 = 0
    /// Pages of zeros.
    public var zeroPageCount: UInt64 = 0
    /// Pages sent as they are.
    public var normalPageCount: UInt64 = 0
    /// Pages that do not travel, because nobody needs their content.
    public var excludedPageCount: UInt64 = 0
    /// Pages dirtied in a second.
    public var dirtyPagesPerSecond: UInt64 = 0
    /// Times that the dirty log was read.
    public var dirtySyncCount: UInt64 = 0
    /// Pages that the destination asked for.
    public var postcopyRequestCount: UInt64 = 0
    /// Pages sent in a second.
    public var pagesPerSecond: UInt64 = 0
    /// The rate of sending, in 10^6 bits a second.
    public var megabitsPerSecond: Double = 0
    /// Bytes sent while the machine ran here.
    public var precopyByteCount: UInt64 = 0
    /// Bytes sent while it stood still.
    public var downtimeByteCount: UInt64 = 0
    /// Bytes sent while it ran there.
    public var postcopyByteCount: UInt64 = 0

    /// An account of nothing.
    public init() {}
  }

  /// An account without figures.
  /// - Parameters:
  ///   - status: the state.
  ///   - isIncoming: whether the machine comes.
  public init(_ status: MigrationStatus = .none, isIncoming: Bool = false) {
    self.status = status
    self.isIncoming = isIncoming
    blockers = []
    listeningAddresses = []
  }
}
