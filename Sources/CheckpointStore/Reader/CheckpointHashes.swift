// A checkpoint's pages by their hashes: those stand in the store's page table, so that no content
// is read to know them.

public import PageHash
import Synchronization

/// The way from a hash to a page of a checkpoint; any thread may read at any time.
///
/// It takes 12 bytes for each stored page of the checkpoint. Nothing is found before
/// ``forEachHash(_:)`` has come to it. The checkpoint stays open as long as this lives, so that no
/// collect frees its pages.
public final class CheckpointHashes: Sendable {
  private let checkpoint: Checkpoint
  /// References at the places of their hashes; 0 is empty.
  private let slots = Mutex<[UInt64]>([])

  /// References that are put in the table's order and looked up together.
  private static let groupCount = 1 << 16
  /// Entries of the page table that lie between two wanted ones and are read with them.
  private static let gapCount: UInt64 = 32
  private static let readCount: UInt64 = 4096

  /// The pages of a checkpoint.
  public init(_ checkpoint: Checkpoint) {
    self.checkpoint = checkpoint
  }

  /// Gives the hashes of all stored pages, in groups; what several groups have comes in each.
  ///
  /// What is damaged is left out.
  /// - Parameter body: says whether to go on.
  public func forEachHash(_ body: ([ContentHash]) throws -> Bool) throws {
    try reserve()
    var group: [UInt64] = []
    var failure: (any Error)?
    var goesOn = true
    /// Looks up what has been gathered; whether to go on.
    func flush() {
      guard failure == nil, goesOn, !group.isEmpty else { return }
      do {
        goesOn = try body(try hashes(of: &group))
      } catch {
        failure = error
      }
      group.removeAll(keepingCapacity: true)
    }
    for block in checkpoint.blocks.indices where goesOn && failure == nil {
      try checkpoint.manifest.forEachPage(
        block: block,
        { (_, reference) throws(StoreError) in
          guard reference != .zero, goesOn, failure == nil else { return }
          group.append(reference.rawValue)
          if group.count == Self.groupCount { flush() }
        }, failed: { _ throws(StoreError) in })
    }
    flush()
    if let failure { throw failure }
  }

  /// Reads the pages that have some hashes, one after the other.
  ///
  /// They are **not** compared with those: whoever asks has to.
  /// - Returns: for each hash whether there is a page and it could be read.
  public func read(_ hashes: [ContentHash], into pages: inout MutableRawSpan) -> [Bool] {
    let references = slots.withLock { slots in hashes.map { Self.find($0, in: slots) } }
    return checkpoint.store.source.readUnverified(references, into: &pages)
  }

  private func reserve() throws(StoreError) {
    guard slots.withLock({ $0.isEmpty }) else { return }
    var count = 0
    for block in checkpoint.blocks.indices {
      try checkpoint.manifest.forEachPage(
        block: block,
        { (_, reference) throws(StoreError) in if reference != .zero { count += 1 } },
        failed: { _ throws(StoreError) in })
    }
    let capacity = count + count / 2 + 16
    slots.withLock { $0 = [UInt64](repeating: 0, count: capacity) }
  }

  /// The hashes of some references, each once, and in the table from now on.
  private func hashes(of group: inout [UInt64]) throws(StoreError) -> [ContentHash] {
    group.sort()
    var found: [ContentHash] = []
    var next = 0
    while next < group.count {
      let first = group[next] >> 24
      var end = next
      var last = first
      while end < group.count, case let number = group[end] >> 24,
        number - last <= Self.gapCount, number - first < Self.readCount
      {
        last = number
        end += 1
      }
      let entries = try checkpoint.store.source.table.entries(
        from: first, count: Int(last - first) + 1)
      slots.withLock { slots in
        for index in next..<end where index == next || group[index] != group[index - 1] {
          let place = Int((group[index] >> 24) - first)
          guard place < entries.count else { break }
          let hash = entries[place].hash
          let reference = PageReference(rawValue: group[index])
          guard hash.fingerprint == reference.fingerprint else { continue }
          Self.insert(reference, hash, in: &slots)
          found.append(hash)
        }
      }
      next = end
    }
    return found
  }

  private static func home(_ hash: ContentHash, _ capacity: Int) -> Int {
    Int(hash.word0.multipliedFullWidth(by: UInt64(capacity)).high)
  }

  /// Adds a reference, unless it is there.
  private static func insert(
    _ reference: PageReference, _ hash: ContentHash, in slots: inout [UInt64]
  ) {
    var slot = home(hash, slots.count)
    while slots[slot] != 0, slots[slot] != reference.rawValue {
      slot += 1
      if slot == slots.count { slot = 0 }
    }
    slots[slot] = reference.rawValue
  }

  /// The first reference at the place of a hash that has its fingerprint.
  private static func find(_ hash: ContentHash, in slots: [UInt64]) -> PageReference? {
    guard !slots.isEmpty else { return nil }
    var slot = home(hash, slots.count)
    while slots[slot] != 0 {
      let reference = PageReference(rawValue: slots[slot])
      if reference.fingerprint == hash.fingerprint { return reference }
      slot += 1
      if slot == slots.count { slot = 0 }
    }
    return nil
  }
}
