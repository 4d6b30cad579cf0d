// What a guest says about its own memory.

/// A guest's memory statistics, as its balloon driver reports them.
public struct BalloonStatistics: Equatable, Sendable {
  /// What a number is, by the specification's tags.
  public enum Kind: UInt16, CaseIterable, Sendable {
    /// Bytes swapped in since the guest started.
    case swapIn = 0
    /// Bytes swapped out since the guest started.
    case swapOut = 1
    /// Page faults that needed the disk.
    case majorFaults = 2
    /// All other page faults.
    case minorFaults = 3
    /// Bytes that nothing uses.
    case freeMemory = 4
    /// Bytes the guest has in all.
    case totalMemory = 5
    /// Bytes that programs could get without swapping.
    case availableMemory = 6
    /// Bytes in caches of files.
    case diskCaches = 7
    /// Huge pages that were given out.
    case hugePageAllocations = 8
    /// Huge pages that could not be given out.
    case hugePageFailures = 9
    /// Processes ended for want of memory.
    case outOfMemoryKills = 10
  }

  static let entryByteCount = 10

  /// The numbers that the guest gave; what it does not know is missing.
  public var values: [Kind: UInt64] = [:]

  /// A report that says nothing.
  public init() {}

  /// Reads a report: a tag of two bytes and a number of eight, as often as it likes.
  init(report bytes: [UInt8]) {
    for offset in stride(from: 0, to: bytes.count - Self.entryByteCount + 1, by: 10) {
      let tag = bytes.littleEndian(UInt16.self, at: offset)
      guard let kind = Kind(rawValue: tag) else { continue }
      values[kind] = bytes.littleEndian(UInt64.self, at: offset + 2)
    }
  }
}
