// Pages that came as their hashes, at their destination: a few at a time are read from what is held
// here, compared with their hashes, and placed; the source is told of the others.

internal import MigrationCore
internal import PageHash
internal import Synchronization
internal import Wire

/// The hashes that came and are not placed yet, and the pages that could not be.
///
/// One thread uses it, the one that receives.
final class KnownPagesReception {
  /// Pages that are read and compared together.
  private static let batchPageCount = 64

  private let contents: [any KnownContent]
  private let digester: Digester
  private let counters: ProgressCounters
  private var pending: [(page: RAMPageAddress, hash: ContentHash)] = []
  private var missed: MissedPages
  private var room = PageRoom(pageCount: batchPageCount)
  private var wasAnyMissed = false

  /// Nothing has come; the blocks are those of the stream.
  init(
    _ contents: [any KnownContent], blocks: [RAMBlockDescription], counters: ProgressCounters
  ) throws(DigesterError) {
    self.contents = contents
    self.counters = counters
    digester = try Digester()
    missed = MissedPages(blocks: blocks, pageSize: knownPageByteCount)
  }

  /// Whether pages have to be settled before anything else of the stream is looked at.
  var hasPending: Bool { !pending.isEmpty }

  /// Pages that were told as missed and have not come since.
  var missedCount: Int { missed.count }

  /// Takes a record; whether it is time to settle.
  func add(_ page: RAMPageAddress, digest: RawSpan) -> Bool {
    pending.append((page, ContentHash(digest)))
    return pending.count >= Self.batchPageCount
  }

  /// A page came with its content.
  func arrive(_ page: RAMPageAddress) {
    if wasAnyMissed { missed.arrive(page) }
  }

  /// The source takes pages back.
  func discard(block: String, _ ranges: [RAMDiscardRange]) {
    if wasAnyMissed { missed.discard(block: block, ranges) }
  }

  /// Places what came, and says what the source has to be told before anything else.
  func settle(
    _ place: (RAMPageAddress, RawSpan) throws -> Void
  ) throws -> [ReturnPathMessage] {
    guard !pending.isEmpty else { return [] }
    let batch = pending
    pending.removeAll(keepingCapacity: true)
    let isHere = find(batch)
    for index in batch.indices {
      let page = batch[index].page
      guard isHere[index] else {
        wasAnyMissed = true
        missed.miss(page)
        counters.missedPages.add(1, ordering: .relaxed)
        continue
      }
      try room.withBytes { bytes in
        let start = index * knownPageByteCount
        try place(page, bytes.extracting(start..<start + knownPageByteCount))
      }
      arrive(page)
    }
    counters.hashedPages.add(UInt64(batch.count), ordering: .relaxed)
    return wasAnyMissed ? missed.takeMessages() : []
  }

  /// Reads the pages of a batch into the room; which of them have their hashes.
  private func find(
    _ batch: [(page: RAMPageAddress, hash: ContentHash)]
  ) -> [Bool] {
    var isHere = [Bool](repeating: false, count: batch.count)
    // The first content that has a hash may have changed since: then the next one is asked.
    for content in contents {
      var isRead = false
      for index in batch.indices where !isHere[index] {
        let isFound = room.withMutablePage(index) { page in
          content.read(batch[index].hash, into: &page)
        }
        isRead = isRead || isFound
      }
      guard isRead else { continue }
      let hashes = room.withBytes { bytes in
        digester.hashPages(bytes.extracting(first: batch.count * knownPageByteCount))
      }
      for index in batch.indices { isHere[index] = hashes[index] == batch[index].hash }
      if !isHere.contains(false) { break }
    }
    return isHere
  }
}
