// What each page of an inspected stream holds, in memory that the stream cannot make grow at will.

/// A fingerprint for every page with content that a stream brought, the last one sent winning.
///
/// Pages that are zero, or that were never sent, take no memory, so announcing a huge block costs
/// nothing. There is a bound on the rest; beyond it the table gives up counting.
struct InspectionPageTable: Sendable {
  /// The most pages whose fingerprints are kept: 64 GiB of them at 4 KiB, in 128 MiB of memory.
  static let pageLimit = 16 << 20

  /// Pages are kept in groups, so that dense memory costs eight bytes a page.
  private static let groupSize: UInt64 = 64

  /// By block, then by group; zero stands for a zero page.
  private var groups: [[UInt64: [UInt64]]] = []
  private var groupCount = 0
  private var pageSize: UInt64 = 4096
  /// Whether there were more pages than are counted.
  private(set) var isOverfull = false

  /// Forgets everything and makes room for blocks.
  mutating func announce(blockCount: Int, pageSize: Int) {
    groups = Array(repeating: [:], count: blockCount)
    groupCount = 0
    self.pageSize = UInt64(pageSize)
  }

  /// What the page at `offset` holds: its fingerprint, or 0 for zeros.
  func fingerprint(block: Int, offset: UInt64) -> UInt64 {
    let page = offset / pageSize
    return groups[block][page / Self.groupSize]?[Int(page % Self.groupSize)] ?? 0
  }

  /// Notes what a page holds from now on.
  mutating func set(block: Int, offset: UInt64, fingerprint: UInt64) {
    let page = offset / pageSize
    let group = page / Self.groupSize
    if groups[block][group] == nil {
      guard fingerprint != 0 else { return }
      guard (groupCount + 1) * Int(Self.groupSize) <= Self.pageLimit else {
        isOverfull = true
        return
      }
      groupCount += 1
      groups[block][group] = Array(repeating: 0, count: Int(Self.groupSize))
    }
    groups[block][group]?[Int(page % Self.groupSize)] = fingerprint
  }

  /// The offsets of the pages with content, in order.
  func dataPages(ofBlock block: Int) -> some Sequence<UInt64> {
    let table = groups[block]
    return table.keys.sorted().lazy.flatMap { group in
      (table[group] ?? []).indices.lazy
        .filter { table[group]?[$0] != 0 }
        .map { (group * Self.groupSize + UInt64($0)) * pageSize }
    }
  }

  /// How many pages of each block are what; nil where there were too many.
  ///
  /// A content counts as unique in the first block that has it, and as shared everywhere else.
  func counts(byteCounts: [UInt64]) -> [InspectedPageCounts]? {
    guard !isOverfull, groups.count == byteCounts.count else { return nil }
    var seen: [UInt64] = []
    return groups.indices.map { block in
      let present = groups[block].values.joined().filter { $0 != 0 }.sorted()
      let (merged, new) = Self.merge(present, into: seen)
      seen = merged
      return InspectedPageCounts(
        zero: byteCounts[block] / pageSize - UInt64(present.count), unique: UInt64(new),
        shared: UInt64(present.count - new))
    }
  }

  /// Adds sorted fingerprints to sorted, distinct ones, and says how many were new.
  private static func merge(_ added: [UInt64], into seen: [UInt64]) -> ([UInt64], new: Int) {
    var merged: [UInt64] = []
    merged.reserveCapacity(seen.count + added.count)
    var old = 0
    for value in added where merged.last != value {
      while old < seen.count, seen[old] < value {
        merged.append(seen[old])
        old += 1
      }
      if old < seen.count, seen[old] == value { old += 1 }
      merged.append(value)
    }
    merged.append(contentsOf: seen[old...])
    return (merged, merged.count - seen.count)
  }
}
