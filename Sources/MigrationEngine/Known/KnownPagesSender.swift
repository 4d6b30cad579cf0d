// The sending side of pages that the destination holds: for each page the word whether it goes as
// its hash, and for each message of the destination what it means.

internal import MigrationCore
internal import PageHash
internal import Synchronization
internal import Wire

/// What the threads of one source share about pages that travel as hashes.
final class KnownPagesSender: Sendable {
  /// What a message of the destination called for.
  enum Outcome: Equatable {
    /// It is about something else.
    case other
    /// It was taken.
    case taken
    /// These pages have to be sent with their content.
    case missed([RAMPageAddress])
  }

  private let state: Mutex<KnownPagesSource>
  private let counters: ProgressCounters

  init(_ format: SourceFormat, _ counters: ProgressCounters) {
    self.counters = counters
    state = Mutex(
      KnownPagesSource(
        blocks: format.blocks, pageSize: format.targetPageSize,
        seed: UInt64.random(in: 0...UInt64.max)))
  }

  /// Whether pages of a machine can travel so: each is placed alone, and has room for the flag.
  static func suits(_ format: SourceFormat) -> Bool {
    format.targetPageSize == knownPageByteCount
      && format.blocks.allSatisfy { ($0.pageSize ?? 4096) == UInt64(knownPageByteCount) }
  }

  /// Appends the question what the destination holds; once a link, behind the list of blocks.
  func ask(_ encoder: inout StreamEncoder) throws(WireError) {
    try encoder.append(.askKnownPages(limit: state.withLock { $0.limit }))
  }

  /// Whether the destination has announced everything.
  var isAnnounced: Bool { state.withLock { $0.isAnnounced } }

  /// Whether the destination has announced any page by now.
  var isAnythingHeld: Bool { state.withLock { $0.counts.announcedPages > 0 } }

  // MARK: Sending

  /// Decides about a page that is about to be sent with its content.
  ///
  /// - Parameter digester: the calling thread's own.
  /// - Returns: its hash, if it goes as that.
  func hash(
    of page: RAMPageAddress, content: RawSpan, _ digester: Digester
  ) -> ContentHash? {
    let isWanted = state.withLock { state in
      let isWanted = state.wantsHash(of: page)
      if !isWanted { state.sendsContent(of: page) }
      return isWanted
    }
    guard isWanted else { return nil }
    let hash = digester.hash(content)
    let isSent = state.withLock { $0.sendsHash(of: page, prefix: hash.prefix) }
    if isSent { counters.hashedPages.add(1, ordering: .relaxed) }
    return isSent ? hash : nil
  }

  /// Decides about pages of a running machine that follow one another: the hash of each one that
  /// goes as that.
  ///
  /// A guest may write to a page while it is hashed; that is noticed, as any write is, and the page
  /// goes again.
  /// - Parameters:
  ///   - first: the first page.
  ///   - lent: all of them, as they lie in memory.
  ///   - digester: the calling thread's own.
  func hashes(
    from first: RAMPageAddress, _ lent: [LentPage], _ digester: Digester
  ) -> [ContentHash?] {
    func page(_ index: Int) -> RAMPageAddress {
      RAMPageAddress(
        blockIndex: first.blockIndex, offset: first.offset + UInt64(index * knownPageByteCount))
    }
    let wanted = state.withLock { state in
      lent.indices.filter { index in
        if case .data = lent[index], state.wantsHash(of: page(index)) { return true }
        state.sendsContent(of: page(index))
        return false
      }
    }
    var hashes = [ContentHash?](repeating: nil, count: lent.count)
    guard !wanted.isEmpty else { return hashes }
    for start in stride(from: 0, to: wanted.count, by: 2) {
      guard start + 1 < wanted.count, case .data(let one) = lent[wanted[start]],
        case .data(let other) = lent[wanted[start + 1]]
      else {
        if case .data(let one) = lent[wanted[start]] {
          // SAFETY: the endpoint lends the page for as long as it lives.
          hashes[wanted[start]] = digester.hash(unsafe one.bytes)
        }
        continue
      }
      // SAFETY: as above.
      let pair = digester.hashPages(unsafe one.bytes, unsafe other.bytes)
      hashes[wanted[start]] = pair.0
      hashes[wanted[start + 1]] = pair.1
    }
    let sent = state.withLock { state in
      wanted.count { index in
        guard let hash = hashes[index] else { return false }
        let isSent = state.sendsHash(of: page(index), prefix: hash.prefix)
        if !isSent { hashes[index] = nil }
        return isSent
      }
    }
    counters.hashedPages.add(UInt64(sent), ordering: .relaxed)
    return hashes
  }

  /// The value of the PING behind which nothing is unconfirmed any more, once it is answered; nil
  /// where nothing is, or one is under way.
  func beginBarrier() -> UInt32? { state.withLock { $0.beginBarrier() } }

  /// The destination has answered a PING behind everything that was sent.
  func confirmAll() { state.withLock { $0.confirmAll() } }

  /// Pages that went as hashes and are not known to be there.
  var unconfirmedCount: Int { state.withLock { $0.unconfirmedCount } }

  // MARK: What the destination says

  /// Takes a message, if it is about pages that are held.
  func take(_ message: ReturnPathMessage) throws(ProtocolViolation) -> Outcome {
    try state.withLock { state throws(ProtocolViolation) -> Outcome in
      switch message {
      case .knownPages(let prefixes):
        state.announce(prefixes)
        counters.announcedPages.store(state.counts.announcedPages, ordering: .relaxed)
        return .taken
      case .knownPagesEnd:
        state.endAnnouncement()
        return .taken
      case .missedPages(let block, let offsets):
        let pages = try state.miss(block: block, offsets: offsets)
        counters.missedPages.add(UInt64(pages.count), ordering: .relaxed)
        return .missed(pages)
      case .pong(let value): return state.pong(value) ? .taken : .other
      default: return .other
      }
    }
  }
}
