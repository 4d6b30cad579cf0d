// What a reception does about pages that come as hashes of what is held here.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

extension Reception {
  /// Gets ready for pages of these blocks by their hashes, where both ends agreed on that.
  mutating func expectKnownPages(of blocks: [RAMBlockDescription]) throws {
    guard let contents = knownContent else { return }
    known = try KnownPagesReception(contents, blocks: blocks, counters: counters)
  }

  mutating func visitPageHash(_ page: RAMPageAddress, digest: RawSpan) throws {
    try machine.onPage(page)
    guard let known else {
      throw DestinationStateMachine.Refusal(
        description: "The source sent a page by its hash before it had announced its memory.")
    }
    guard known.add(page, digest: digest) else { return }
    for message in try known.advance({ page, content in try place(page, content) }) {
      try reply(message)
    }
  }

  /// Whether pages came as hashes that are not placed yet.
  var hasPendingHashes: Bool { known?.hasPending ?? false }

  /// Places the pages that came as hashes, so that what comes next finds them in their places, and
  /// an answer to it comes behind what is missed.
  func settleKnownPages() throws {
    guard let known, known.hasPending else { return }
    for message in try known.settle({ page, content in try place(page, content) }) {
      try reply(message)
    }
  }

  /// A page comes with its content.
  func arriveWithContent(_ page: RAMPageAddress) throws {
    try settleKnownPages()
    known?.arrive(page)
  }

  /// Tells the source what is held here, beside all else.
  mutating func announceKnownPages(limit: UInt64) throws {
    guard let contents = knownContent else { return }
    do {
      announcement = try KnownPagesAnnouncement(contents, limit: limit, outbox) { [postcopy] in
        postcopy?.isServing.load(ordering: .acquiring) ?? false
      }
    } catch {
      throw ResourceFailure(activity: "starting a thread", cause: error)
    }
  }

  /// Ends the announcement, so that nothing of it comes behind the last word.
  func endAnnouncement() { announcement?.stop() }

  /// Ends the threads of this link; none of it is used any more.
  func end() {
    announcement?.stop()
    known?.end()
    outbox.finish()
  }

  /// A source knows what is missed here, and may not go on as if it had come.
  func checkNothingIsMissed() throws {
    guard let known, known.missedCount > 0 else { return }
    throw DestinationStateMachine.Refusal(
      description: "The source goes on although \(known.missedCount) pages that it sent by their "
        + "hashes are not held here, and have not come since.")
  }
}
