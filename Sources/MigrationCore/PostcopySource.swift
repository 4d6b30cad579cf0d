// The source of a postcopy: the destination's machine runs first, its memory follows.
//
//   initial:   opening ─▶ sending ahead ─▶ switching ─▶ pushing ─▶ ending ─▶ finished
//   behind a precopy:                   switching ─▶ pushing ─▶ ending ─▶ finished
//   recovery:  asking bitmaps ─▶ awaiting bitmaps ─▶ resuming ─▶ pushing ─▶ ending ─▶ finished
//
// The machine is asked what to do next (`next`, `nextRequested`) and told what the destination
// says (`receive`). It holds no socket, clock or thread; whoever drives it serialises the calls.

public import Wire

/// Decides what a postcopy source sends, and what a message means at each point.
public struct PostcopySource: Sendable {
  /// How the source begins.
  public enum Beginning: Sendable, Equatable {
    /// A new destination that has nothing. Up to `hotPageLimit` host pages of the remembered
    /// demand order go before the switch; each delays the guest's start by its transfer.
    case fresh(hotPageLimit: Int)
    /// A destination that has all but these host pages of each block, from a precopy over the
    /// same link that announced a postcopy.
    case switched(missing: [PageBitmap])
    /// A destination that runs and waits since its link broke.
    case recovery
  }

  /// What the source is doing.
  public enum Phase: Sendable, Equatable {
    /// Nothing was written.
    case opening
    /// Remembered pages go out before the switch.
    case sendingAhead(left: Int)
    /// Discards and the package are being written.
    case switching
    /// Pages go out, requested ones first.
    case pushing
    /// All pages went out; the destination is to confirm.
    case ending
    /// The destination is asked which pages it has.
    case askingBitmaps
    /// Its answers come, one a block, in order; `next` indexes the blocks that are asked about.
    case awaitingBitmaps(next: Int)
    /// The destination is told to go on.
    case resuming
    /// Over.
    case finished(SourceOutcome)
  }

  /// The bounds of what is kept because a peer did something.
  public enum Limits {
    /// Damaged pages that are kept by address; more are only counted.
    public static let listedDamagedPages = 1 << 12
    /// Ranges in one discard command.
    public static let discardRanges = 12
  }

  /// What the source is doing now.
  public private(set) var phase: Phase
  /// What is known of the destination's machine.
  public private(set) var destinationRunState: DestinationRunState
  /// What this restore teaches for the next one.
  public var observedDemand: DemandOrder {
    DemandOrder(requested: observedRequests, brought: scheduler.broughtRuns)
  }
  private var observedRequests: [DemandedPage] = []
  /// Requests that the destination made, repetitions included.
  public private(set) var requestCount = 0
  /// Pages that could not be read, as far as they are listed.
  public private(set) var damagedPages: [RAMPageAddress] = []
  /// Pages that could not be read.
  public private(set) var damagedPageCount = 0
  /// What the destination has not read yet of the batches.
  public private(set) var flow = FlowWindow()
  /// Pages handed out whose writing was not reported yet.
  public private(set) var pagesUnderWay = 0

  /// Whether requested pages go over a channel of their own (`postcopy-preempt`): they are handed
  /// out by ``nextRequested()`` alone.
  public var answersApart = false

  private var scheduler: PageScheduler
  private let blocks: [RAMBlockDescription]
  private let blockIndexByName: [String: Int]
  private let sentBlocks: [Int]
  private let targetPageSize: Int

  /// A source that has sent nothing on this link.
  ///
  /// `blocks` carry the destination's page sizes. Blocks in `omittedBlocks` are announced and
  /// neither discarded nor sent. Set `isInDoubt` for a recovery where nobody knows whether the
  /// destination's machine began to run.
  public init(
    blocks: [RAMBlockDescription], targetPageSize: Int, omittedBlocks: Set<Int> = [],
    demandOrder: DemandOrder = DemandOrder(), beginning: Beginning, isInDoubt: Bool = false
  ) {
    self.blocks = blocks
    self.targetPageSize = targetPageSize
    sentBlocks = blocks.indices.filter { !omittedBlocks.contains($0) }
    blockIndexByName = Dictionary(
      blocks.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
    let missing: [PageBitmap]? =
      if case .switched(let missing) = beginning { missing } else { nil }
    scheduler = PageScheduler(
      blocks: blocks.map {
        ScheduledBlock(usedLength: $0.usedLength, pageSize: $0.placementSize(targetPageSize))
      }, omittedBlocks: omittedBlocks, demandOrder: demandOrder, missing: missing)
    hotPageLimit = 0
    switch beginning {
    case .switched:
      phase = .sendingAhead(left: 0)
      destinationRunState = .notStarted
    case .fresh(let limit):
      hotPageLimit = limit
      phase = .opening
      destinationRunState = .notStarted
    case .recovery:
      phase = .askingBitmaps
      destinationRunState = isInDoubt ? .unknown : .running
    }
  }
  private var hotPageLimit: Int

  /// Host pages that were not handed out yet.
  public var remainingPageCount: Int { scheduler.remainingCount }

  /// Bytes of memory that were not handed out yet.
  public var remainingByteCount: UInt64 { scheduler.remainingByteCount }

  /// Bytes a host page of block `index` has.
  public func pageSize(ofBlock index: Int) -> Int { scheduler.block(at: index).pageSize }

  // MARK: What to do next

  /// What the one that writes the stream does next; it has carried out what it was told before,
  /// except that pages may be under way.
  public mutating func next(isKnownZero: (RAMPageAddress) -> Bool = { _ in false })
    -> SourceInstruction
  {
    switch phase {
    case .opening:
      phase = .sendingAhead(left: hotPageLimit)
      return .write(opening)
    case .sendingAhead(let left):
      if left > 0, let page = scheduler.nextRemembered() {
        phase = .sendingAhead(left: left - 1)
        pagesUnderWay += 1
        return .page(page)
      }
      guard pagesUnderWay == 0 else { return .wait }
      phase = .switching
      destinationRunState = .unknown
      return .write(discards + [.ping(2), .package])
    case .switching:
      phase = .pushing
      return .write([.ping(4)])
    case .pushing:
      return nextPage(isKnownZero: isKnownZero)
    case .askingBitmaps:
      phase = .awaitingBitmaps(next: 0)
      return .write(sentBlocks.map { .askReceivedBitmap(blockIndex: $0) })
    case .awaitingBitmaps(let next):
      guard next == sentBlocks.count else { return .wait }
      phase = .resuming
      return .write([.resume])
    case .ending, .resuming:
      return .wait
    case .finished:
      return .finish
    }
  }

  /// The next page, where nothing but pages is to be written now; `.wait` otherwise.
  public mutating func nextPageOnly(isKnownZero: (RAMPageAddress) -> Bool = { _ in false })
    -> SourceInstruction
  {
    guard phase == .pushing,
      let page = scheduler.next(takesRequests: !answersApart, isKnownZero: isKnownZero)
    else { return .wait }
    pagesUnderWay += 1
    return .page(page)
  }

  /// The page that the guest waits for longest, where one may be written now.
  ///
  /// May be called by another writer than the one that calls `next`, at any time.
  public mutating func nextRequested() -> ScheduledPage? {
    guard phase == .pushing, let page = scheduler.nextRequested() else { return nil }
    pagesUnderWay += 1
    return page
  }

  /// Whether `nextRequested` has something to hand out.
  public var hasUrgentPages: Bool { phase == .pushing && scheduler.hasRequests }

  /// The elements that were handed out last were not written whole: the last bytes of them are not
  /// with the kernel, and never will be.
  ///
  /// Not to be called once they are, whatever goes wrong then: a whole package may run.
  public mutating func writeFailed() {
    // A package is the last of what it is handed out with, and one that is not whole runs nothing.
    // A destination that has said that it runs is believed all the same.
    if phase == .switching, destinationRunState == .unknown { destinationRunState = .notStarted }
  }

  /// A batch of pages was written; the value of the PING that follows it, if one does.
  public mutating func batchWritten(byteCount: Int) -> UInt32? {
    flow.batchWritten(byteCount: byteCount)
  }

  /// `count` pages that were handed out are written.
  public mutating func pagesWritten(_ count: Int) {
    precondition(count <= pagesUnderWay, "more pages written than were handed out")
    pagesUnderWay -= count
  }

  /// A page that was handed out cannot be read, and was not written.
  public mutating func pageDamaged(_ page: RAMPageAddress) {
    precondition(pagesUnderWay > 0, "a page that was not handed out")
    pagesUnderWay -= 1
    if case .sendingAhead = phase {
      // It has to be among what is discarded, and comes up again after the switch.
      scheduler.putBack(page)
      return
    }
    damagedPageCount += 1
    if damagedPages.count < Limits.listedDamagedPages { damagedPages.append(page) }
  }

  /// Pages that were sent as hashes did not arrive: the destination waits for them.
  public mutating func missed(_ pages: [RAMPageAddress]) {
    for page in pages { scheduler.missed(page) }
  }

  private mutating func nextPage(isKnownZero: (RAMPageAddress) -> Bool) -> SourceInstruction {
    if let page = scheduler.next(takesRequests: !answersApart, isKnownZero: isKnownZero) {
      pagesUnderWay += 1
      return .page(page)
    }
    // What is asked for a second time, having been missed, is handed out by `nextRequested` only.
    guard pagesUnderWay == 0, !answersApart || !scheduler.hasRequests else { return .wait }
    if damagedPageCount > 0 {
      phase = .finished(.leftWaiting(damagedPageCount: damagedPageCount))
      return .finish
    }
    phase = .ending
    return .write([.ramEnd, .endOfStream])
  }

  // MARK: What the destination says

  /// Takes a message of the return path; whoever waits for instructions asks again afterwards.
  public mutating func receive(_ message: ReturnPathMessage) throws(ProtocolViolation) {
    switch message {
    case .pong(let value):
      receivePong(value)
    case .requestPages(let block, let start, let length):
      try receiveRequest(block: block, start: start, length: UInt64(length))
    case .shut(let status):
      try receiveShut(status)
    case .receivedBitmap(let block, let bitmap):
      try receiveBitmap(bitmap, of: block)
    case .resumeAcknowledge(let value):
      guard phase == .resuming, value == 1 else {
        throw violation(
          expected: phase == .resuming ? "RESUME_ACK with 1" : "no RESUME_ACK",
          found: "RESUME_ACK with \(value)")
      }
      destinationRunState = .running
      phase = .pushing
    case .knownPages, .knownPagesEnd, .missedPages:
      throw violation(
        expected: "requests for pages",
        found: "a message about pages that are known, which nobody asked for")
    case .switchoverAcknowledge:
      break  // Nothing is held back for it: the machine is stopped already.
    }
  }

  private mutating func receivePong(_ value: UInt32) {
    // The answer to the ping behind the device state: it is loaded, and RUN is next.
    if value == 3, destinationRunState == .unknown { destinationRunState = .running }
    flow.answered(value)
  }

  private mutating func receiveRequest(
    block: String?, start: UInt64, length: UInt64
  ) throws(ProtocolViolation) {
    let asked = "a request for \(length) bytes at \(start) of block \(block ?? "as before")"
    guard let index = block.map({ blockIndexByName[$0] }) ?? lastRequestedBlock else {
      throw violation(expected: "requests that name announced blocks", found: asked)
    }
    lastRequestedBlock = index
    let size = UInt64(scheduler.block(at: index).pageSize)
    guard sentBlocks.contains(index), length > 0, start % size == 0, length % size == 0,
      start < blocks[index].usedLength, length <= blocks[index].usedLength - start
    else {
      throw violation(
        expected: "whole pages of \(size) bytes within \(blocks[index].usedLength) bytes",
        found: asked)
    }
    requestCount += 1
    for page in 0..<(length / size) {
      let address = RAMPageAddress(blockIndex: index, offset: start + page * size)
      let outcome = scheduler.request(address)
      if outcome != .duplicate, observedRequests.count < DemandOrder.Limits.requests {
        observe(address)
      }
    }
  }

  private mutating func observe(_ address: RAMPageAddress) {
    let page = Int(address.offset / UInt64(scheduler.block(at: address.blockIndex).pageSize))
    if observed.isEmpty {
      observed = blocks.indices.map { PageBitmap(pageCount: scheduler.block(at: $0).pageCount) }
    }
    if observed[address.blockIndex].insert(page) {
      observedRequests.append(DemandedPage(address, broughtBefore: scheduler.broughtCount))
    }
  }
  private var observed: [PageBitmap] = []
  private var lastRequestedBlock: Int?

  private mutating func receiveShut(_ code: UInt32) throws(ProtocolViolation) {
    if code != 0 {
      guard destinationRunState != .running else {
        throw violation(expected: "requests for pages", found: "SHUT with error \(code)")
      }
      destinationRunState = .notStarted
      phase = .finished(.destinationFailed(code: code))
      return
    }
    guard phase == .ending else {
      throw violation(
        expected: "no SHUT before the last page", found: "SHUT with 0 (success)")
    }
    destinationRunState = .running
    phase = .finished(.completed)
  }

  private mutating func receiveBitmap(
    _ bitmap: ReceivedBitmap, of block: String
  ) throws(ProtocolViolation) {
    guard case .awaitingBitmaps(let next) = phase, next < sentBlocks.count else {
      throw violation(expected: "no bitmap", found: "the bitmap of block \(block)")
    }
    let index = sentBlocks[next]
    let pages = Int(blocks[index].usedLength / UInt64(targetPageSize))
    guard block == blocks[index].name, bitmap.pageCount == pages else {
      throw violation(
        expected: "the bitmap of block \(blocks[index].name) with \(pages) pages",
        found: "the bitmap of block \(block) with \(bitmap.pageCount) pages")
    }
    let perHostPage = scheduler.block(at: index).pageSize / targetPageSize
    for hostPage in 0..<scheduler.block(at: index).pageCount {
      let targetPages = hostPage * perHostPage..<min((hostPage + 1) * perHostPage, pages)
      // Placement is atomic per host page, so a page that is there only in part is not there.
      if targetPages.allSatisfy({ bitmap[$0] }) {
        scheduler.markSent(blockIndex: index, page: hostPage)
      }
    }
    // Only who has the machine, and ran it or is about to, knows this.
    destinationRunState = .running
    phase = .awaitingBitmaps(next: next + 1)
  }

  private func violation(expected: String, found: String) -> ProtocolViolation {
    ProtocolViolation(during: activity, expected: expected, found: found)
  }

  /// What is being done, for an error's sentence.
  public var activity: String {
    switch phase {
    case .opening: "opening the stream to the destination"
    case .sendingAhead: "sending remembered pages ahead"
    case .switching: "handing over the device state"
    case .pushing: "serving pages to the running destination"
    case .ending: "waiting for the destination's confirmation"
    case .askingBitmaps, .awaitingBitmaps: "learning which pages the destination has"
    case .resuming: "waiting for the destination to resume"
    case .finished: "closing the link"
    }
  }

  // MARK: The elements

  private var opening: [SourceElement] {
    let advice = PostcopyAdvice(blocks: blocks, targetPageSize: targetPageSize)
    return [
      .header, .configuration, .openReturnPath, .ping(1),
      .advise(pageSizeSummary: advice.pageSizeSummary, targetPageSize: advice.targetPageSize),
      .ramSetup,
    ]
  }

  /// One command per block where nothing was sent ahead, more where pages were.
  private var discards: [SourceElement] {
    var elements: [SourceElement] = []
    for index in sentBlocks {
      var ranges: [Range<UInt64>] = []
      var page = 0
      let size = UInt64(scheduler.block(at: index).pageSize)
      while let run = scheduler.unsentRun(blockIndex: index, from: page) {
        let end = min(UInt64(run.upperBound) * size, blocks[index].usedLength)
        ranges.append(UInt64(run.lowerBound) * size..<end)
        page = run.upperBound
        if ranges.count == Limits.discardRanges {
          elements.append(.discard(blockIndex: index, ranges: ranges))
          ranges = []
        }
      }
      if !ranges.isEmpty { elements.append(.discard(blockIndex: index, ranges: ranges)) }
    }
    return elements
  }
}

extension PostcopyAdvice {
  /// What announces a postcopy of these blocks, which carry the destination's page sizes.
  init(blocks: [RAMBlockDescription], targetPageSize: Int) {
    let summary = blocks.reduce(UInt64(0)) {
      $0 | UInt64($1.placementSize(targetPageSize))
    }
    self.init(pageSizeSummary: summary, targetPageSize: UInt64(targetPageSize))
  }
}

extension RAMBlockDescription {
  /// The bytes in which the block is placed: its page size where one was announced and it is
  /// larger than the target's.
  func placementSize(_ targetPageSize: Int) -> Int {
    max(Int(pageSize ?? 0), targetPageSize)
  }
}
