// What a source knows of the pages that its destination holds: which it announced, which went as
// hashes and are not confirmed, and what it means when one turns out to be missing there.
//
//   asked ─▶ announced: prefixes … end
//   a page: hash sent ─▶ unconfirmed ─┬─ missed: to be sent with its content
//                                     └─ PONG of a later barrier: it is there
//
// A destination says what it missed before it answers a PING that came behind the hash. So a PING
// behind the last hash, a barrier, tells all of it; before the machine stops being the only good
// copy, nothing may be unconfirmed.

public import Wire

/// What came of pages that travel as hashes.
public struct KnownPagesCounts: Sendable, Equatable {
  /// Pages that the destination announced to hold.
  public var announcedPages: UInt64 = 0
  /// Announced pages that were left out, because they were more than was asked for.
  public var ignoredPages: UInt64 = 0
  /// Pages that were sent as hashes, each time they were.
  public var hashedPages: UInt64 = 0
  /// Pages of these that the destination did not hold after all.
  public var missedPages: UInt64 = 0
  /// Bytes of content that did not have to travel, misses taken off; the hashes did.
  public var savedBytes: UInt64 = 0

  /// Nothing was announced, nothing was sent.
  public init() {}
}

/// Decides which pages go as hashes, and keeps account of them.
public struct KnownPagesSource: Sendable {
  /// The bounds of what is kept of an announcement.
  public enum Limits {
    /// Prefixes for each page of the machine: the destination may hold several states of it.
    static let prefixesPerPage = 4
    /// Prefixes that any machine may be announced.
    static let leastPrefixes = 1 << 16
    /// Prefixes that are kept of the longest announcement (1 TiB of different pages; 2 GiB here).
    static let mostPrefixes = 1 << 28
    /// Values of PINGs that are barriers begin here, far from all others.
    static let firstBarrier: UInt32 = 0x4757_0000
  }

  /// What came of it so far.
  public private(set) var counts = KnownPagesCounts()
  /// Whether the announcement is over.
  public private(set) var isAnnounced = false

  private var prefixes: KnownPagePrefixes
  private var sampling = HashSampling()
  private let blocks: [RAMBlockDescription]
  private let pageSize: UInt64
  /// Pages whose last sending was a hash: since the last barrier, and before it.
  private var fresh: [PageBitmap]
  private var awaited: [PageBitmap]
  private var freshCount = 0
  private var awaitedCount = 0
  /// Pages that were missed once: they go with their content from then on.
  private var missed: [PageBitmap]
  private var barrier: UInt32?
  private var nextBarrier = Limits.firstBarrier

  /// A source whose destination has announced nothing.
  ///
  /// - Parameters:
  ///   - blocks: the RAM blocks in the order of the stream.
  ///   - pageSize: the size of a target page in bytes.
  ///   - seed: a number that the destination cannot know.
  public init(blocks: [RAMBlockDescription], pageSize: Int, seed: UInt64) {
    self.blocks = blocks
    self.pageSize = UInt64(pageSize)
    fresh = blocks.map { PageBitmap(pageCount: Int($0.usedLength / UInt64(pageSize))) }
    awaited = fresh
    missed = fresh
    let pages = fresh.reduce(0) { $0 + $1.pageCount }
    let (product, overflows) = pages.multipliedReportingOverflow(by: Limits.prefixesPerPage)
    let wanted = overflows ? Limits.mostPrefixes : max(Limits.leastPrefixes, product)
    prefixes = KnownPagePrefixes(limit: min(wanted, Limits.mostPrefixes), seed: seed)
  }

  /// How many prefixes are kept: what the destination is asked for at most.
  public var limit: UInt64 { UInt64(prefixes.limit) }

  /// Pages that were sent as hashes and are not known to be there.
  public var unconfirmedCount: Int { freshCount + awaitedCount }

  // MARK: What the destination says

  /// Takes a part of the announcement; what exceeds the limit is left out.
  public mutating func announce(_ part: [UInt64]) {
    for prefix in part {
      guard prefixes.count < prefixes.limit else {
        counts.ignoredPages += 1
        continue
      }
      if prefixes.insert(prefix) { counts.announcedPages += 1 }
    }
  }

  /// The announcement is over.
  public mutating func endAnnouncement() { isAnnounced = true }

  /// Takes the pages that the destination misses.
  ///
  /// - Returns: those whose last sending was a hash, which are to be sent with their content; the
  ///   others have been sent again since, or never were hashes.
  /// - Throws: where there is no such block or page.
  public mutating func miss(
    block name: String, offsets: [UInt64]
  ) throws(ProtocolViolation) -> [RAMPageAddress] {
    guard let index = blocks.firstIndex(where: { $0.name == name }) else {
      throw violation("pages of a block '\(name)' that was not announced")
    }
    var pages: [RAMPageAddress] = []
    for offset in offsets {
      guard offset % pageSize == 0, offset < blocks[index].usedLength else {
        throw violation("a page at \(offset) of block '\(name)', where there is none")
      }
      let number = Int(offset / pageSize)
      guard forget(index, number) else { continue }
      missed[index].insert(number)
      counts.missedPages += 1
      counts.savedBytes -= pageSize
      pages.append(RAMPageAddress(blockIndex: index, offset: offset))
    }
    return pages
  }

  /// The destination has said what it misses of all that was sent up to now.
  public mutating func confirmAll() {
    guard unconfirmedCount > 0 else { return }
    for index in fresh.indices {
      fresh[index] = PageBitmap(pageCount: fresh[index].pageCount)
      awaited[index] = fresh[index]
    }
    (freshCount, awaitedCount) = (0, 0)
  }

  /// Takes a PONG, and says whether it answers a barrier.
  public mutating func pong(_ value: UInt32) -> Bool {
    guard value == barrier else { return false }
    barrier = nil
    for index in awaited.indices where awaited[index].memberCount > 0 {
      awaited[index] = PageBitmap(pageCount: awaited[index].pageCount)
    }
    awaitedCount = 0
    return true
  }

  // MARK: Sending

  /// Whether a page, which is about to be sent with its content, is worth a hash.
  public mutating func wantsHash(of page: RAMPageAddress) -> Bool {
    guard prefixes.count > 0, !missed[page.blockIndex].contains(number(of: page)) else {
      return false
    }
    return sampling.wantsNext()
  }

  /// Takes the hash of a page that is about to be sent, by its first 40 bits.
  ///
  /// - Returns: whether it goes as a hash. If not, it goes with its content, and
  ///   ``sendsContent(of:)`` need not be called.
  public mutating func sendsHash(of page: RAMPageAddress, prefix: UInt64) -> Bool {
    let isKnown = prefixes.contains(prefix)
    sampling.note(isKnown: isKnown)
    guard isKnown else {
      sendsContent(of: page)
      return false
    }
    let number = number(of: page)
    if awaited[page.blockIndex].remove(number) { awaitedCount -= 1 }
    if fresh[page.blockIndex].insert(number) { freshCount += 1 }
    counts.hashedPages += 1
    counts.savedBytes += pageSize
    return true
  }

  /// A page is about to be sent with its content (or as zeros): what came of its hash does not
  /// matter any more.
  public mutating func sendsContent(of page: RAMPageAddress) {
    guard unconfirmedCount > 0 else { return }
    _ = forget(page.blockIndex, number(of: page))
  }

  /// The value of the PING that is to be written now, so that its answer confirms all hashes that
  /// were written before; nil where there is none, or another barrier is not answered yet.
  public mutating func beginBarrier() -> UInt32? {
    guard barrier == nil, unconfirmedCount > 0 else { return nil }
    let value = nextBarrier
    nextBarrier = value == Limits.firstBarrier | 0xFFFF ? Limits.firstBarrier : value + 1
    barrier = value
    swap(&fresh, &awaited)
    swap(&freshCount, &awaitedCount)
    return value
  }

  private mutating func forget(_ block: Int, _ number: Int) -> Bool {
    if fresh[block].remove(number) {
      freshCount -= 1
      return true
    }
    guard awaited[block].remove(number) else { return false }
    awaitedCount -= 1
    return true
  }

  private func number(of page: RAMPageAddress) -> Int { Int(page.offset / pageSize) }

  private func violation(_ found: String) -> ProtocolViolation {
    ProtocolViolation(
      during: "learning which pages the destination misses",
      expected: "pages of announced blocks", found: found)
  }
}
