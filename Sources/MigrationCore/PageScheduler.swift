// What to send next in postcopy. The guest is waiting for what it asked for, so that goes first;
// then what an earlier guest asked for at this point; then what lies behind recent requests; then
// what the earlier guest got unasked, in the order in which it got it; then all the rest. Every
// host page is handed out exactly once: a destination that receives one twice stops (postcopy
// places a page by filling a hole, and the hole is gone).

public import Wire

/// Why a page is sent now; a smaller value goes first.
public enum PagePriority: Int, Sendable, Comparable, CaseIterable {
  /// The guest waits for it.
  case requested
  /// A guest restored from the same checkpoint asked for it before.
  case remembered
  /// It lies behind a page that was asked for a moment ago.
  case neighbour
  /// Its turn in the walk over all memory.
  case background
  /// Its turn in the walk's second part: pages that are known to be zero.
  case knownZero

  /// Whether `left` goes before `right`.
  public static func < (left: PagePriority, right: PagePriority) -> Bool {
    left.rawValue < right.rawValue
  }
}

/// A host page that is to be sent, whole, now.
public struct ScheduledPage: Sendable, Equatable {
  /// Where it begins.
  public let address: RAMPageAddress
  /// Its size: the destination's page size for that block, in bytes.
  public let byteCount: Int
  /// Why it is sent now.
  public let priority: PagePriority

  /// A page to be sent.
  public init(address: RAMPageAddress, byteCount: Int, priority: PagePriority) {
    self.address = address
    self.byteCount = byteCount
    self.priority = priority
  }
}

/// What a request for a page led to.
public enum RequestOutcome: Sendable, Equatable {
  /// It goes out next.
  case queued
  /// It is queued already.
  case duplicate
  /// It was handed out before and is on its way, or there.
  case alreadySent
}

/// Hands out every host page of a machine exactly once, in the order of need.
///
/// Handing out costs O(1) whatever the machine's size; memory is two bits a page at most, and taken
/// only as pages are handed out. The type is a value without locks: its owner serialises.
public struct PageScheduler: Sendable {
  /// The bounds that keep a peer's requests from costing more memory than announced.
  public enum Limits {
    /// Requests waiting at one time; a further page is left to the background walk, which sends it.
    public static let queuedRequests = 1 << 16
    /// How many pages a remembered one goes out ahead of its time, at the least.
    public static let rememberedLead: UInt64 = 4096
  }

  /// Host pages that were not handed out yet.
  public private(set) var remainingCount: Int
  /// Bytes of the host pages that were not handed out yet.
  public private(set) var remainingByteCount: UInt64

  private let blocks: [ScheduledBlock]
  private let omittedBlocks: Set<Int>
  private var sent: [PageBitmap]
  private var queued: [PageBitmap]
  private var queue: [RAMPageAddress] = []
  private var queueHead = 0
  private let demandOrder: DemandOrder
  private var requestedHead = 0
  private var broughtHead = 0
  /// The page of that run at which to go on.
  private var broughtNext = 0
  private var brought = BroughtRuns()
  private var readahead = Readahead()
  private var walk: BackgroundWalk

  /// A scheduler over `blocks`; none of the pages of `omittedBlocks` (indices) is ever handed out.
  ///
  /// `demandOrder` is what earlier restores taught; what in it does not name a page of these blocks
  /// is passed over. `missing` names the host pages of each block that the destination does not
  /// have; without it, it has none.
  public init(
    blocks: [ScheduledBlock], omittedBlocks: Set<Int> = [],
    demandOrder: DemandOrder = DemandOrder(), missing: [PageBitmap]? = nil
  ) {
    self.blocks = blocks
    self.demandOrder = demandOrder
    queued = blocks.map { PageBitmap(pageCount: $0.pageCount) }
    sent = missing?.map { PageBitmap(complementOf: $0) } ?? queued
    let walked = blocks.indices.filter { !omittedBlocks.contains($0) }
    walk = BackgroundWalk(blockOrder: walked)
    remainingCount = walked.reduce(0) { $0 + blocks[$1].pageCount }
    remainingByteCount = walked.reduce(0) { $0 &+ blocks[$1].usedLength }
    self.omittedBlocks = omittedBlocks
    for index in walked where missing != nil {
      remainingCount -= sent[index].memberCount
      // All but a block's last page have the same size, and blocks end with whole pages mostly.
      let last = blocks[index].pageCount - 1
      let isLastSent = last >= 0 && sent[index].contains(last)
      let cut = isLastSent ? blocks[index].pageSize - blocks[index].byteCount(ofPage: last) : 0
      remainingByteCount &-= UInt64(sent[index].memberCount * blocks[index].pageSize - cut)
    }
  }

  /// The block at `index`, as this scheduler sees it.
  public func block(at index: Int) -> ScheduledBlock { blocks[index] }

  /// Whether a waiting request could be handed out now.
  public var hasRequests: Bool { queueHead < queue.count }

  /// Whether the page that holds `address` was handed out.
  public func wasSent(_ address: RAMPageAddress) -> Bool {
    guard let page = hostPage(of: address) else { return false }
    return sent[address.blockIndex].contains(page)
  }

  // MARK: Requests

  /// Takes note that the guest waits for the host page that begins at `address`.
  ///
  /// The address must lie inside a block (`PostcopySource` checks what a peer asks for).
  public mutating func request(_ address: RAMPageAddress) -> RequestOutcome {
    guard let page = hostPage(of: address) else { return .alreadySent }
    readahead.noteRequest(
      blockIndex: address.blockIndex, page: page, block: blocks[address.blockIndex])
    if sent[address.blockIndex].contains(page) { return .alreadySent }
    guard queue.count - queueHead < Limits.queuedRequests else { return .duplicate }
    guard queued[address.blockIndex].insert(page) else { return .duplicate }
    queue.append(addressOf(page: page, blockIndex: address.blockIndex))
    return .queued
  }

  // MARK: Handing out

  /// The page the guest waits for longest, if it waits for one.
  public mutating func nextRequested() -> ScheduledPage? {
    while queueHead < queue.count {
      let address = queue[queueHead]
      queueHead += 1
      if queueHead == queue.count {
        queue.removeAll(keepingCapacity: true)
        queueHead = 0
      } else if queueHead >= 4096 && queueHead * 2 >= queue.count {
        queue.removeFirst(queueHead)
        queueHead = 0
      }
      if let page = take(address, priority: .requested) { return page }
    }
    return nil
  }

  /// The next page to send, or none when every page was handed out.
  ///
  /// `isKnownZero` is asked about pages of the background walk only: those it names are put off
  /// until all others are sent, since a guest rarely waits for an empty page. Without
  /// `takesRequests` requested pages are left to whoever calls ``nextRequested()``, unless it is
  /// their turn anyway.
  public mutating func next(
    takesRequests: Bool = true, isKnownZero: (RAMPageAddress) -> Bool = { _ in false }
  ) -> ScheduledPage? {
    guard remainingCount > 0 else { return nil }
    if takesRequests, let page = nextRequested() { return page }
    if let page = nextDue() { return page }
    while let (blockIndex, page) = readahead.next(sent: sent) {
      let address = addressOf(page: page, blockIndex: blockIndex)
      if let page = take(address, priority: .neighbour) { return page }
    }
    if let page = nextBrought() { return page }
    return nextOfWalk(isKnownZero: isKnownZero)
  }

  /// The next remembered page whose time has come.
  ///
  /// That is half-way to when it was asked for, less the lead: early enough even where pages go
  /// out half as fast as they did then.
  private mutating func nextDue() -> ScheduledPage? {
    while requestedHead < demandOrder.requested.count,
      demandOrder.requested[requestedHead].broughtBefore / 2
        < brought.pageCount + Limits.rememberedLead
    {
      let address = demandOrder.requested[requestedHead].address
      requestedHead += 1
      if let page = take(address, priority: .remembered) { return page }
    }
    return nil
  }

  /// The next page of the remembered order alone; what a source may send before the switch.
  public mutating func nextRemembered() -> ScheduledPage? {
    while requestedHead < demandOrder.requested.count {
      let address = demandOrder.requested[requestedHead].address
      requestedHead += 1
      if let page = take(address, priority: .remembered) { return page }
    }
    return nil
  }

  /// The next page of those that the earlier guest got unasked.
  ///
  /// That it got them in this order is why it never asked for them: another order, and most of a
  /// second restore's requests are for such pages.
  private mutating func nextBrought() -> ScheduledPage? {
    while broughtHead < demandOrder.brought.count {
      let run = demandOrder.brought[broughtHead]
      if let pages = hostPages(of: run), case let start = max(pages.lowerBound, broughtNext),
        start < pages.upperBound,
        let page = sent[run.start.blockIndex].firstNonMember(in: start..<pages.upperBound)
      {
        // A run may be most of a block, too long to be gone over for each of its pages.
        broughtNext = page + 1
        let address = addressOf(page: page, blockIndex: run.start.blockIndex)
        if let page = take(address, priority: .background) { return page }
      }
      broughtHead += 1
      broughtNext = 0
    }
    return nil
  }

  private func hostPages(of run: RAMPageRun) -> Range<Int>? {
    let index = run.start.blockIndex
    guard run.byteCount > 0, !omittedBlocks.contains(index), let first = hostPage(of: run.start)
    else { return nil }
    let size = UInt64(blocks[index].pageSize)
    let (last, overflows) = run.start.offset.addingReportingOverflow(run.byteCount - 1)
    let end = overflows ? UInt64(blocks[index].pageCount) : last / size + 1
    return first..<Int(min(end, UInt64(blocks[index].pageCount)))
  }

  private mutating func nextOfWalk(isKnownZero: (RAMPageAddress) -> Bool) -> ScheduledPage? {
    while let (blockIndex, page) = walk.next(sent: sent) {
      let address = addressOf(page: page, blockIndex: blockIndex)
      if walk.isSecondPass {
        if let page = take(address, priority: .knownZero) { return page }
      } else if isKnownZero(address) {
        continue
      } else if let page = take(address, priority: .background) {
        return page
      }
    }
    return nil
  }

  // MARK: What the destination has

  /// Takes note that the destination holds host page number `page` of block `blockIndex`.
  public mutating func markSent(blockIndex: Int, page: Int) {
    guard !omittedBlocks.contains(blockIndex) else { return }
    guard sent[blockIndex].insert(page) else { return }
    remainingCount -= 1
    remainingByteCount &-= UInt64(blocks[blockIndex].byteCount(ofPage: page))
  }

  /// Takes back that the host page that begins at `address` was handed out.
  public mutating func putBack(_ address: RAMPageAddress) {
    guard let page = hostPage(of: address), sent[address.blockIndex].remove(page) else { return }
    remainingCount += 1
    remainingByteCount &+= UInt64(blocks[address.blockIndex].byteCount(ofPage: page))
  }

  /// A page that was handed out did not arrive: it goes again, ahead of what nobody waits for.
  public mutating func missed(_ address: RAMPageAddress) {
    putBack(address)
    guard let page = hostPage(of: address) else { return }
    _ = queued[address.blockIndex].remove(page)
    guard queue.count - queueHead < Limits.queuedRequests else {
      // Beyond the queue's limit the walk finds it, from the beginning again.
      walk = BackgroundWalk(blockOrder: blocks.indices.filter { !omittedBlocks.contains($0) })
      return
    }
    queued[address.blockIndex].insert(page)
    queue.append(address)
  }

  /// The first run of host pages at or after `page` that were not handed out, if there is one.
  public func unsentRun(blockIndex: Int, from page: Int) -> Range<Int>? {
    let end = blocks[blockIndex].pageCount
    guard page < end, let start = sent[blockIndex].firstNonMember(in: page..<end) else {
      return nil
    }
    return start..<(sent[blockIndex].firstMember(in: start..<end) ?? end)
  }

  private mutating func take(_ address: RAMPageAddress, priority: PagePriority) -> ScheduledPage? {
    guard !omittedBlocks.contains(address.blockIndex), let page = hostPage(of: address),
      sent[address.blockIndex].insert(page)
    else { return nil }
    let block = blocks[address.blockIndex]
    remainingCount -= 1
    remainingByteCount &-= UInt64(block.byteCount(ofPage: page))
    let scheduled = ScheduledPage(
      address: addressOf(page: page, blockIndex: address.blockIndex),
      byteCount: block.byteCount(ofPage: page), priority: priority)
    brought.note(scheduled)
    return scheduled
  }

  /// The pages that were handed out unasked, in order.
  public var broughtRuns: [RAMPageRun] { brought.runs }

  /// How many pages were handed out unasked, those known to be zero and the remembered ones left
  /// out.
  public var broughtCount: UInt64 { brought.pageCount }

  private func hostPage(of address: RAMPageAddress) -> Int? {
    guard blocks.indices.contains(address.blockIndex) else { return nil }
    let page = address.offset / UInt64(blocks[address.blockIndex].pageSize)
    return page < UInt64(blocks[address.blockIndex].pageCount) ? Int(page) : nil
  }

  private func addressOf(page: Int, blockIndex: Int) -> RAMPageAddress {
    RAMPageAddress(
      blockIndex: blockIndex, offset: UInt64(page) * UInt64(blocks[blockIndex].pageSize))
  }
}
