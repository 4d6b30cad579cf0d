// Pages that came as their hashes, at their destination: what is held here is placed, and the
// source is told of the others.

internal import MigrationCore
internal import PageHash
internal import Synchronization
internal import Wire

/// The hashes that came and are not placed yet, and the pages that could not be.
///
/// One thread uses it, the one that receives. Full batches are looked for by a thread beside it,
/// while those before are placed; what is left when no more has come is looked for at once.
final class KnownPagesReception {
  /// Places a page that is here.
  typealias Placing = (RAMPageAddress, RawSpan) throws -> Void

  private let contents: [any KnownContent]
  private let digester: Digester
  private let counters: ProgressCounters
  private var missed: MissedPages
  private var wasAnyMissed = false
  private var filling = KnownPagesBatch()
  /// Batches that are used again.
  private var empty: [KnownPagesBatch] = []
  /// How many are with the finder.
  private var underWayCount = 0
  private var finder: KnownPagesFinder?

  /// The most batches that are with the finder.
  private static let underWayLimit = 3

  /// Nothing has come; the blocks are those of the stream.
  init(
    _ contents: [any KnownContent], blocks: [RAMBlockDescription], counters: ProgressCounters
  ) throws(DigesterError) {
    self.contents = contents
    self.counters = counters
    digester = try Digester()
    missed = MissedPages(blocks: blocks, pageSize: knownPageByteCount)
  }

  deinit { end() }

  /// Ends the thread that looks for pages, if there is one; nothing more is added.
  func end() {
    finder?.end()
    finder = nil
  }

  /// Whether pages have to be settled before anything else of the stream is looked at.
  var hasPending: Bool { !filling.isEmpty || underWayCount > 0 }

  /// Pages that were told as missed and have not come since.
  var missedCount: Int { missed.count }

  /// Takes a record; whether it is time to go on.
  func add(_ page: RAMPageAddress, digest: RawSpan) -> Bool {
    filling.add(page, ContentHash(digest))
    return filling.isFull
  }

  /// A page came with its content.
  func arrive(_ page: RAMPageAddress) {
    if wasAnyMissed { missed.arrive(page) }
  }

  /// The source takes pages back.
  func discard(block: String, _ ranges: [RAMDiscardRange]) {
    if wasAnyMissed { missed.discard(block: block, ranges) }
  }

  /// Has the full batch looked for, and places those that were; what the source has to be told.
  func advance(_ place: Placing) throws -> [ReturnPathMessage] {
    let finder = try self.finder ?? KnownPagesFinder(contents)
    self.finder = finder
    finder.begin(filling)
    filling = empty.popLast() ?? KnownPagesBatch()
    underWayCount += 1
    return try putFound(of: finder, leaving: Self.underWayLimit, place)
  }

  /// Places everything that came, and says what the source has to be told before anything else.
  func settle(_ place: Placing) throws -> [ReturnPathMessage] {
    var messages: [ReturnPathMessage] = []
    if let finder { messages = try putFound(of: finder, leaving: 0, place) }
    guard !filling.isEmpty else { return messages }
    filling.find(in: contents, digester)
    return messages + (try put(filling, place))
  }

  /// Places the batches that have been looked for, and waits for more while too many are under way.
  private func putFound(
    of finder: KnownPagesFinder, leaving limit: Int, _ place: Placing
  ) throws -> [ReturnPathMessage] {
    var messages: [ReturnPathMessage] = []
    while underWayCount > 0,
      let found = underWayCount > limit ? finder.awaitFound() : finder.takeFound()
    {
      underWayCount -= 1
      empty.append(found)
      messages += try put(found, place)
    }
    return messages
  }

  /// Places what is here of a batch, and empties it.
  private func put(_ batch: KnownPagesBatch, _ place: Placing) throws -> [ReturnPathMessage] {
    defer { batch.clear() }
    for (index, page) in batch.pages.enumerated() {
      guard batch.isHere[index] else {
        wasAnyMissed = true
        missed.miss(page)
        counters.missedPages.add(1, ordering: .relaxed)
        continue
      }
      try batch.withPage(index) { try place(page, $0) }
      arrive(page)
    }
    counters.hashedPages.add(UInt64(batch.pages.count), ordering: .relaxed)
    return wasAnyMissed ? missed.takeMessages() : []
  }
}
