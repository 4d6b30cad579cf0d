// What the source of a running machine does about pages that its destination holds.

internal import MigrationCore
internal import PageHash
internal import Synchronization
internal import Transport
internal import Wire

extension LiveRun {
  /// Pages that are hashed together.
  private static let groupPageCount = 16
  /// By so much less a destination is waited for where the machine is to go at once.
  private static let haste = 5

  /// Asks what the destination holds, and gives it time to say so: what goes before that goes with
  /// its content.
  func learnKnownPages(_ gather: inout PageGather) throws {
    guard let known = session.known else { return }
    try known.ask(&gather.encoder)
    try session.flush(&gather.encoder)
    let start = session.elapsed
    while true {
      let seen = signal.changeCount
      // The machine runs on meanwhile, though whoever wants it to go now wants it soon.
      let isHasty = machine.withLock { $0.isPostcopyWanted }
      let patience = session.options.announcementPatience / (isHasty ? Self.haste : 1)
      let left = start + patience - session.elapsed
      try checkGoingOn()
      guard left > .zero, !known.isAnnounced, !isOver else { return }
      signal.wait(after: seen, timeout: left)
    }
  }

  /// Sees to it, before the machine is stopped, that everything which went as a hash is there or is
  /// sent again.
  ///
  /// - Returns: whether the machine is to be stopped now; if the destination misses too much, it
  ///   runs on until that has gone, and if the destination has ended the move, for good.
  func settleKnownPages() throws -> Bool {
    guard let known = session.known, known.unconfirmedCount > 0 else { return true }
    var encoder = session.format.encoder()
    if let ping = known.beginBarrier() {
      try encoder.append(.ping(ping))
      try session.flush(&encoder)
    }
    while known.unconfirmedCount > 0 {
      let seen = signal.changeCount
      try checkGoingOn()
      // Its last word may come where its answer should have, and nothing comes after that.
      guard known.unconfirmedCount > 0, !isOver else { break }
      signal.wait(after: seen, timeout: .milliseconds(500))
    }
    let remaining = endpoint.remainingByteCount
    counters.remainingRAMBytes.store(remaining, ordering: .relaxed)
    return machine.withLock { $0.settledMisses(remaining: remaining) }
  }

  /// Takes a message about pages that the destination holds; whether it was one.
  func takeKnown(_ message: ReturnPathMessage) throws -> Bool {
    guard let known = session.known else { return false }
    // Under the lock of every step: a page is unconfirmed in the eyes of each, or left to send.
    return try machine.withLock { machine in
      switch try known.take(message) {
      case .other:
        guard case .pong(let value) = message, machine.phase == .confirmingPages(ping: value)
        else { return false }
        // Nothing was sent behind that ping, and what is missed was put back before its answer.
        known.confirmAll()
        machine.missed(remaining: endpoint.remainingByteCount)
        return false
      case .taken: return true
      case .missed(let pages):
        for page in pages {
          endpoint.putBack(RAMPageRun(start: page, byteCount: UInt64(knownPageByteCount)))
        }
        machine.missed(remaining: endpoint.remainingByteCount)
        return true
      }
    }
  }

  /// Appends the pages of a run; how many of them were zeros, and how many went with their content.
  func append(
    _ run: RAMPageRun, _ known: KnownPagesSender, _ digester: Digester,
    to gather: inout PageGather
  ) throws -> (zeros: UInt64, whole: UInt64) {
    var (zeros, whole): (UInt64, UInt64) = (0, 0)
    var page = run.start
    let end = run.start.offset + run.byteCount
    while page.offset < end {
      let left = Int((end - page.offset) / UInt64(knownPageByteCount))
      let lent = (0..<min(left, Self.groupPageCount)).map { index in
        endpoint.lend(
          RAMPageAddress(
            blockIndex: page.blockIndex,
            offset: page.offset + UInt64(index * knownPageByteCount)))
      }
      let hashes = known.hashes(from: page, lent, digester)
      for index in lent.indices {
        switch (lent[index], hashes[index]) {
        case (.zero, _):
          try gather.encoder.appendZeroPage(page)
          zeros += 1
        case (.data, let hash?):
          try hash.withBytes { try gather.encoder.appendPageHash(page, digest: $0) }
        case (.data(let content), nil):
          // SAFETY: the content lies in the endpoint's memory, which outlives this run.
          unsafe try gather.append(page, content)
          whole += 1
        }
        page.offset += UInt64(knownPageByteCount)
      }
    }
    return (zeros, whole)
  }
}
