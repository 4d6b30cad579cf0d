// What QEMU says of a migration under way or over. Nearly everything is optional, as QEMU omits
// what does not apply.

public import JSON

/// How far a migration is.
public enum MigrationStatus: Equatable, Sendable {
  /// There has been none.
  case none
  /// Connected, not begun.
  case setup
  /// Waits for a device to be unplugged.
  case waitUnplug
  /// Memory is on its way while the machine may run.
  case active
  /// All is ready; waits for `migrate-continue`.
  case preSwitchover
  /// The rest of memory and the devices are on their way.
  case device
  /// The machine runs at the destination and asks for its pages.
  case postcopyActive
  /// The connection broke during postcopy; both sides wait.
  case postcopyPaused
  /// A recovery is being set up (source, QEMU 9.1 and later).
  case postcopyRecoverSetup
  /// A recovery is agreeing on what is missing.
  case postcopyRecover
  /// Over; this side has given the machine away, or has it.
  case completed
  /// Over; see the error.
  case failed
  /// Being cancelled.
  case cancelling
  /// Cancelled.
  case cancelled
  /// Continuous replication.
  case colo
  /// A word of a QEMU newer than this code.
  case unknown(String)

  private static let words: [(String, MigrationStatus)] = [
    ("none", .none), ("setup", .setup), ("wait-unplug", .waitUnplug), ("active", .active),
    ("pre-switchover", .preSwitchover), ("device", .device),
    ("postcopy-active", .postcopyActive), ("postcopy-paused", .postcopyPaused),
    ("postcopy-recover-setup", .postcopyRecoverSetup), ("postcopy-recover", .postcopyRecover),
    ("completed", .completed), ("failed", .failed), ("cancelling", .cancelling),
    ("cancelled", .cancelled), ("colo", .colo),
  ]

  /// Reads QEMU's word.
  public init(_ word: String) {
    self = Self.words.first { $0.0 == word }?.1 ?? .unknown(word)
  }

  /// QEMU's word.
  public var word: String {
    if case .unknown(let word) = self { return word }
    return Self.words.first { $0.1 == self }?.0 ?? "none"
  }

  /// Whether nothing more will happen by itself, a broken postcopy not included.
  public var isTerminal: Bool {
    switch self {
    case .none, .completed, .failed, .cancelled: true
    case .setup, .waitUnplug, .active, .preSwitchover, .device, .postcopyActive, .postcopyPaused,
      .postcopyRecoverSetup, .postcopyRecover, .cancelling, .colo, .unknown:
      false
    }
  }
}

/// QEMU's account of the memory it has moved.
///
/// Nil where a QEMU omits a number.
public struct MigrationRAMStatistics: Equatable, Sendable {
  /// Bytes sent.
  public var transferredByteCount: UInt64?
  /// Bytes known to be dirty still.
  public var remainingByteCount: UInt64?
  /// Bytes of RAM in all.
  public var totalByteCount: UInt64?
  /// Pages found to hold one value throughout.
  public var zeroPageCount: UInt64?
  /// Pages that do not travel because nobody needs their content (Godwit's own machine).
  public var excludedPageCount: UInt64?
  /// Pages sent as they are.
  public var normalPageCount: UInt64?
  /// Bytes of the pages sent as they are.
  public var normalByteCount: UInt64?
  /// Pages dirtied in a second.
  public var dirtyPagesPerSecond: UInt64?
  /// Times that the dirty log was read; the rounds.
  public var dirtySyncCount: UInt64?
  /// Pages that the destination asked for.
  public var postcopyRequestCount: UInt64?
  /// The guest's page size in bytes.
  public var pageByteCount: UInt64?
  /// The rate of sending in 10^6 bits a second.
  public var megabitsPerSecond: Double?
  /// Pages sent in a second.
  public var pagesPerSecond: UInt64?
  /// Bytes sent while the machine ran here.
  public var precopyByteCount: UInt64?
  /// Bytes sent while the machine stood still.
  public var downtimeByteCount: UInt64?
  /// Bytes sent while the machine ran there.
  public var postcopyByteCount: UInt64?

  init(_ value: JSONValue) {
    transferredByteCount = value["transferred"]?.uint64
    remainingByteCount = value["remaining"]?.uint64
    totalByteCount = value["total"]?.uint64
    zeroPageCount = value["duplicate"]?.uint64
    excludedPageCount = value["x-excluded-pages"]?.uint64
    normalPageCount = value["normal"]?.uint64
    normalByteCount = value["normal-bytes"]?.uint64
    dirtyPagesPerSecond = value["dirty-pages-rate"]?.uint64
    dirtySyncCount = value["dirty-sync-count"]?.uint64
    postcopyRequestCount = value["postcopy-requests"]?.uint64
    pageByteCount = value["page-size"]?.uint64
    megabitsPerSecond = value["mbps"]?.double
    pagesPerSecond = value["pages-per-second"]?.uint64
    precopyByteCount = value["precopy-bytes"]?.uint64
    downtimeByteCount = value["downtime-bytes"]?.uint64
    postcopyByteCount = value["postcopy-bytes"]?.uint64
  }
}

/// What `query-migrate` answers.
public struct MigrationInfo: Equatable, Sendable {
  /// How far it is.
  public var status: MigrationStatus
  /// Milliseconds since it began, or that it took.
  public var totalMilliseconds: Int?
  /// Milliseconds that the machine stood still, once that is known.
  public var downtimeMilliseconds: Int?
  /// Milliseconds that the machine would stand still if it were stopped now.
  public var expectedDowntimeMilliseconds: Int?
  /// Milliseconds spent before the first page.
  public var setupMilliseconds: Int?
  /// How much the vCPUs are slowed down, in percent.
  public var throttlePercentage: Int?
  /// QEMU's words for what went wrong.
  public var errorDescription: String?
  /// What forbids a migration at present.
  public var blockedReasons: [String]
  /// Where a destination listens, as QEMU writes it.
  public var socketAddresses: [JSONValue]
  /// The account of the memory; nil before it begins, and on a destination.
  public var ram: MigrationRAMStatistics?
  /// Pages that travelled as their hashes, because the destination holds them (Godwit's own machine
  /// with the capability `x-known-pages`).
  public var knownPageCount: UInt64?
  /// The whole answer.
  public var raw: JSONValue

  /// Reads an answer; one without status says that there has been no migration.
  public init(_ value: JSONValue) {
    status = value["status"]?.string.map(MigrationStatus.init) ?? .none
    totalMilliseconds = value["total-time"]?.int
    downtimeMilliseconds = value["downtime"]?.int
    expectedDowntimeMilliseconds = value["expected-downtime"]?.int
    setupMilliseconds = value["setup-time"]?.int
    throttlePercentage = value["cpu-throttle-percentage"]?.int
    errorDescription = value["error-desc"]?.string
    blockedReasons = (value["blocked-reasons"]?.array ?? []).compactMap(\.string)
    socketAddresses = value["socket-address"]?.array ?? []
    ram = value["ram"].map(MigrationRAMStatistics.init)
    if let known = value["known-pages"], let hashed = known["hashed"]?.uint64 {
      knownPageCount = hashed - min(hashed, known["missed"]?.uint64 ?? 0)
    }
    raw = value
  }
}
