// Pages that came as their hashes, at their destination: what is held here is placed, and the
// source is told of the others.

internal import MigrationCore
internal import PageHash
internal import Synchronization
internal import Wire

/// The hashes that came and are not placed yet, and the pages that could not be.
///
/// One thread uses it, the one that receives. A full batch is looked for by a thread beside it,
/// while the one before is placed; what is left when no more has come is looked for at once.
final class KnownPagesReception {
  /// Places a page that is here.
  typealias Placing = (RAMPageAddress, RawSpan) throws -> Void

  private let contents: [any KnownContent]
  private let digester: Digester
  private let counters: ProgressCounters
  private var missed: MissedPages
  private var wasAnyMissed = false
  private var filling = KnownPagesBatch()
  private var other = KnownPagesBatch()
  /// The batch that is being looked for beside this thread.
  private var underWay: KnownPagesBatch?
  private var finder: KnownPagesFinder?

  /// Nothing has come; the blocks are those of the stream.
  init(
    _ contents: [any KnownContent], blocks: [RAMBlockDescription], counters: ProgressCounters
  ) throws(DigesterError) {
    self.contents = contents
    self.counters = counters
    digester = try Digester()
    missed = MissedPages(blocks: blocks, pageSize: knownPageByteCount)
  }

  deinit {
    finder?.wait()
    finder?.end()
  }

  /// Whether pages have to be settled before anything else of the stream is looked at.
  var hasPending: Bool { !filling.isEmpty || underWay != nil }

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

  /// Has the full batch looked for, and places the one before it; what the source has to be told.
  func advance(_ place: Placing) throws -> [ReturnPathMessage] {
    let finder = try self.finder ?? KnownPagesFinder(contents)
    self.finder = finder
    finder.wait()
    let found = underWay
    underWay = filling
    finder.begin(filling)
    filling = found ?? other
    return try found.map { try put($0, place) } ?? []
  }

  /// Places everything that came, and says what the source has to be told before anything else.
  func settle(_ place: Placing) throws -> [ReturnPathMessage] {
    var messages: [ReturnPathMessage] = []
    if let found = underWay {
      finder?.wait()
      underWay = nil
      other = found
      messages = try put(found, place)
    }
    guard !filling.isEmpty else { return messages }
    filling.find(in: contents, digester)
    return messages + (try put(filling, place))
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
