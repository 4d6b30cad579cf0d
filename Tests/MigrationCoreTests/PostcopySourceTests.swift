// What a postcopy source sends in which order, and how a recovery goes on.

import MigrationCore
import Testing
import Wire

@Suite struct `The source of a postcopy` {
  static let blocks = [
    RAMBlockDescription(name: "pc.ram", usedLength: 8 << 12),
    RAMBlockDescription(name: "huge", usedLength: 4 << 20, pageSize: 2 << 20),
  ]

  private func source(
    _ beginning: PostcopySource.Beginning = .fresh(hotPageLimit: 0), demand: [RAMPageAddress] = []
  ) -> PostcopySource {
    PostcopySource(
      blocks: Self.blocks, targetPageSize: 4096,
      demandOrder: DemandOrder(requested: demand.map { DemandedPage($0, broughtBefore: 0) }),
      beginning: beginning)
  }

  private func address(_ block: Int, _ offset: UInt64) -> RAMPageAddress {
    RAMPageAddress(blockIndex: block, offset: offset)
  }

  /// Carries out what the source says until it waits, ends or begins to push pages.
  private func open(_ source: inout PostcopySource) {
    while source.phase != .pushing { _ = source.next() }
  }

  /// Hands out every page and reports it written.
  private func pushAll(_ source: inout PostcopySource) -> [RAMPageAddress] {
    var pages: [RAMPageAddress] = []
    while case .page(let page) = source.next() {
      pages.append(page.address)
      source.pagesWritten(1)
    }
    return pages
  }

  @Test func `the stream of an instant restore, element by element`() throws {
    var source = source()
    #expect(
      source.next()
        == .write([
          .header, .configuration, .openReturnPath, .ping(1),
          .advise(pageSizeSummary: 4096 | 2 << 20, targetPageSize: 4096), .ramSetup,
        ]))
    #expect(source.destinationRunState == .notStarted)
    #expect(
      source.next()
        == .write([
          .discard(blockIndex: 0, ranges: [0..<8 << 12]),
          .discard(blockIndex: 1, ranges: [0..<4 << 20]), .ping(2), .package,
        ]))
    #expect(source.destinationRunState == .unknown)
    #expect(source.next() == .write([.ping(4)]))
    try source.receive(.pong(1))
    try source.receive(.pong(4))
    #expect(source.destinationRunState == .unknown)
    try source.receive(.pong(3))
    #expect(source.destinationRunState == .running)
    var pages: [ScheduledPage] = []
    while case .page(let page) = source.nextPageOnly() { pages.append(page) }
    #expect(pages.count == 10)
    #expect(pages.suffix(2).allSatisfy { $0.byteCount == 2 << 20 })
    #expect(source.next() == .wait, "the end waits for pages under way")
    source.pagesWritten(10)
    #expect(source.next() == .write([.ramEnd, .endOfStream]))
    #expect(source.next() == .wait)
    try source.receive(.shut(status: 0))
    #expect(source.next() == .finish)
    #expect(source.phase == .finished(.completed))
  }

  @Test func `pages sent ahead are left out of the discards`() {
    var source = source(
      .fresh(hotPageLimit: 2), demand: [address(0, 3 << 12), address(1, 0), address(0, 0)])
    _ = source.next()
    for expected in [address(0, 3 << 12), address(1, 0)] {
      guard case .page(let page) = source.next() else {
        Issue.record("no page")
        return
      }
      #expect(page.address == expected)
      source.pagesWritten(1)
    }
    #expect(
      source.next()
        == .write([
          .discard(blockIndex: 0, ranges: [0..<3 << 12, 4 << 12..<8 << 12]),
          .discard(blockIndex: 1, ranges: [2 << 20..<4 << 20]), .ping(2), .package,
        ]))
  }

  @Test func `discards come in commands of twelve`() {
    let blocks = [RAMBlockDescription(name: "ram", usedLength: 100 << 12)]
    var source = PostcopySource(
      blocks: blocks, targetPageSize: 4096,
      demandOrder: DemandOrder(
        requested: (0..<30).map {
          DemandedPage(address(0, UInt64($0 * 2) << 12), broughtBefore: 0)
        }),
      beginning: .fresh(hotPageLimit: 100))
    _ = source.next()
    var instruction = source.next()
    while case .page = instruction {
      source.pagesWritten(1)
      instruction = source.next()
    }
    guard case .write(let elements) = instruction else {
      Issue.record("nothing written")
      return
    }
    let counts = elements.compactMap { element in
      if case .discard(_, let ranges) = element { ranges.count } else { nil as Int? }
    }
    #expect(counts == [12, 12, 6])
  }

  @Test func `a damaged page among those sent ahead is discarded and tried again`() {
    var source = source(.fresh(hotPageLimit: 5), demand: [address(0, 0)])
    _ = source.next()
    _ = source.next()
    source.pageDamaged(address(0, 0))
    guard case .write(let elements) = source.next() else {
      Issue.record("nothing written")
      return
    }
    #expect(elements.first == .discard(blockIndex: 0, ranges: [0..<8 << 12]))
    #expect(source.damagedPageCount == 0)
    #expect(source.remainingPageCount == 10)
  }

  @Test func `what is asked for before the guest runs is served first`() throws {
    var source = source()
    _ = source.next()
    _ = source.next()
    try source.receive(.requestPages(block: "pc.ram", start: 5 << 12, length: 4096))
    try source.receive(.requestPages(block: nil, start: 6 << 12, length: 4096))
    #expect(source.nextRequested() == nil, "nothing before the package is written")
    #expect(source.next() == .write([.ping(4)]))
    #expect(source.nextRequested()?.address == address(0, 5 << 12))
    #expect(source.nextRequested()?.address == address(0, 6 << 12))
    #expect(
      source.observedDemand.requested.map(\.address) == [address(0, 5 << 12), address(0, 6 << 12)])
  }

  @Test(arguments: [
    ReturnPathMessage.requestPages(block: nil, start: 0, length: 4096),
    .requestPages(block: "none", start: 0, length: 4096),
    .requestPages(block: "pc.ram", start: 8 << 12, length: 4096),
    .requestPages(block: "pc.ram", start: 7 << 12, length: 8192),
    .requestPages(block: "pc.ram", start: 100, length: 4096),
    .requestPages(block: "pc.ram", start: 0, length: 100),
    .requestPages(block: "pc.ram", start: 0, length: 0),
    .requestPages(block: "pc.ram", start: .max - 4095, length: 4096),
    .requestPages(block: "huge", start: 0, length: 4096),
    .receivedBitmap(block: "pc.ram", bitmap: ReceivedBitmap(pageCount: 8)),
    .resumeAcknowledge(1),
    .shut(status: 0),
  ])
  func `what has no place there is refused`(message: ReturnPathMessage) {
    var source = source()
    open(&source)
    #expect(throws: ProtocolViolation.self) { try source.receive(message) }
  }

  @Test func `a destination that fails before it runs says so`() throws {
    var source = source()
    open(&source)
    try source.receive(.shut(status: 1))
    #expect(source.phase == .finished(.destinationFailed(code: 1)))
  }

  @Test func `a failure after it runs is no end of the source's making`() throws {
    var source = source()
    open(&source)
    try source.receive(.pong(3))
    #expect(throws: ProtocolViolation.self) { try source.receive(.shut(status: 1)) }
    #expect(source.destinationRunState == .running)
  }

  @Test func `a package that was not written whole runs nothing`() {
    var source = source()
    _ = source.next()
    _ = source.next()
    #expect(source.destinationRunState == .unknown)
    source.writeFailed()
    #expect(source.destinationRunState == .notStarted)
  }

  @Test func `a destination that said it runs is believed, whatever could not be written`() throws {
    var source = source()
    _ = source.next()
    _ = source.next()
    try source.receive(.pong(3))
    source.writeFailed()
    #expect(source.destinationRunState == .running)
  }

  @Test func `with damaged pages the stream has no end`() throws {
    var source = source()
    open(&source)
    while case .page(let page) = source.nextPageOnly() {
      if page.address == address(0, 4096) {
        source.pageDamaged(page.address)
      } else {
        source.pagesWritten(1)
      }
    }
    #expect(source.next() == .finish)
    #expect(source.phase == .finished(.leftWaiting(damagedPageCount: 1)))
    #expect(source.damagedPages == [address(0, 4096)])
  }

  @Test func `a recovery sends what the destination does not have`() throws {
    var source = source(.recovery)
    #expect(source.destinationRunState == .running)
    #expect(
      source.next()
        == .write([.askReceivedBitmap(blockIndex: 0), .askReceivedBitmap(blockIndex: 1)]))
    #expect(source.next() == .wait)
    var small = ReceivedBitmap(pageCount: 8)
    for page in [0, 1, 7] { small[page] = true }
    try source.receive(.receivedBitmap(block: "pc.ram", bitmap: small))
    #expect(source.next() == .wait)
    var huge = ReceivedBitmap(pageCount: 1024)
    for page in 0..<512 { huge[page] = true }
    huge[600] = true  // A host page that is there in part is not there.
    try source.receive(.receivedBitmap(block: "huge", bitmap: huge))
    #expect(source.next() == .write([.resume]))
    #expect(source.next() == .wait)
    try source.receive(.resumeAcknowledge(1))
    #expect(
      pushAll(&source)
        == (2...6).map { address(0, $0 << 12) } + [address(1, 2 << 20)])
  }

  @Test func `a recovery's first answer ends the doubt whether the machine runs there`() throws {
    var source = PostcopySource(
      blocks: Self.blocks, targetPageSize: 4096, beginning: .recovery, isInDoubt: true)
    _ = source.next()
    #expect(source.destinationRunState == .unknown)
    try source.receive(.pong(1))
    #expect(source.destinationRunState == .unknown, "anybody answers that")
    try source.receive(.receivedBitmap(block: "pc.ram", bitmap: ReceivedBitmap(pageCount: 8)))
    #expect(source.destinationRunState == .running)
  }

  @Test(arguments: [
    ReturnPathMessage.receivedBitmap(block: "huge", bitmap: ReceivedBitmap(pageCount: 1024)),
    .receivedBitmap(block: "pc.ram", bitmap: ReceivedBitmap(pageCount: 9)),
    .resumeAcknowledge(1),
  ])
  func `a recovery insists on the order of its answers`(message: ReturnPathMessage) {
    var source = source(.recovery)
    _ = source.next()
    #expect(throws: ProtocolViolation.self) { try source.receive(message) }
  }

  @Test func `pings tell how much is under way`() {
    var window = FlowWindow()
    let first = window.batchWritten(byteCount: 100)
    let second = window.batchWritten(byteCount: 50)
    #expect(window.bytesUnderWay == 150)
    window.answered(7)
    #expect(window.bytesUnderWay == 150)
    if let second { window.answered(second) }
    #expect(window.bytesUnderWay == 0)
    if let first { window.answered(first) }
    #expect(window.bytesUnderWay == 0)
  }

  @Test func `a destination that answers no ping costs bounded memory`() {
    var window = FlowWindow()
    var pings = 0
    for _ in 0..<10_000 where window.batchWritten(byteCount: 1) != nil { pings += 1 }
    #expect(pings == 4096)
    #expect(window.bytesUnderWay == 10_000)
  }

  // MARK: A channel for requested pages

  @Test func `what goes over a channel of its own is left to whoever writes there`() throws {
    var source = source()
    source.answersApart = true
    open(&source)
    try source.receive(.requestPages(block: "pc.ram", start: 5 << 12, length: 4096))
    #expect(source.hasUrgentPages)
    guard case .page(let first) = source.next() else {
      Issue.record("nothing goes unasked")
      return
    }
    #expect(first.priority != .requested)
    #expect(source.nextRequested()?.address == address(0, 5 << 12))
    #expect(source.nextRequested() == nil)
    source.pagesWritten(2)
    let rest = pushAll(&source)
    // Exactly once, whichever channel it is.
    #expect(!rest.contains(address(0, 5 << 12)))
    #expect(rest.count == 8)
  }

  @Test func `the end waits for what is written over the other channel`() throws {
    var source = source()
    source.answersApart = true
    open(&source)
    try source.receive(.requestPages(block: "huge", start: 2 << 20, length: 2 << 20))
    #expect(source.nextRequested()?.byteCount == 2 << 20)
    _ = pushAll(&source)
    #expect(source.next() == .wait)
    source.pagesWritten(1)
    #expect(source.next() == .write([.ramEnd, .endOfStream]))
  }

  @Test func `a page that was missed is asked for anew, and the end waits until it is taken`() {
    var source = source()
    source.answersApart = true
    open(&source)
    for _ in 0..<10 {
      _ = source.next()
      source.pagesWritten(1)
    }
    #expect(source.remainingPageCount == 0)
    source.missed([address(0, 0)])
    #expect(source.hasUrgentPages)
    #expect(source.nextRequested()?.address == address(0, 0))
    #expect(source.next() == .wait)
    source.pagesWritten(1)
    #expect(source.next() == .write([.ramEnd, .endOfStream]))
  }
}
