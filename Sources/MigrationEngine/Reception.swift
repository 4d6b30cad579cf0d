// One stream being received: what the decoder finds goes through the state machine and into the
// endpoint, and answers go back to the source.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

/// Takes a stream's events and pages on behalf of `DestinationEngine`.
struct Reception: StreamVisitor {
  private let endpoint: any DestinationEndpoint
  private let channel: ByteChannel
  /// What the source is told.
  let outbox: Outbox
  /// Where requested pages come over a channel of their own.
  private let preempt: PreemptReception?
  let counters: ProgressCounters
  var machine: DestinationStateMachine
  /// What is held here already, and what came as hashes of that.
  var knownContent: [any KnownContent]?
  var known: KnownPagesReception?
  var announcement: KnownPagesAnnouncement?
  /// What a postcopy's threads share, from the list of blocks on where one was announced.
  private(set) var postcopy: PostcopyArrival?
  /// What the link before left, where this one goes on.
  private var recovery: StreamDecoder.Recovery?
  private var deltaBase: [UInt8] = []
  private var targetPageSize: Int
  private var blocks: [RAMBlockDescription] = []
  private var ramSectionID: UInt32 = 0

  init(
    endpoint: any DestinationEndpoint, channel: ByteChannel, preempt: PreemptReception?,
    options: DestinationOptions, counters: ProgressCounters
  ) {
    self.endpoint = endpoint
    self.channel = channel
    outbox = Outbox(channel, counters)
    self.preempt = preempt
    self.counters = counters
    targetPageSize = options.decoder.targetPageSize
    knownContent = options.knownContent
    machine = DestinationStateMachine(
      sendsSwitchoverAcknowledgement: options.sendsSwitchoverAcknowledgement,
      runsMachine: options.takesPostcopy && endpoint is any PostcopyEndpoint)
  }

  /// Goes on over a new link where an old one broke.
  init(
    resuming interrupted: InterruptedReception, endpoint: any DestinationEndpoint,
    channel: ByteChannel, preempt: PreemptReception?, counters: ProgressCounters
  ) {
    self.endpoint = endpoint
    self.channel = channel
    outbox = Outbox(channel, counters)
    interrupted.postcopy.relink(outbox)
    self.preempt = preempt
    self.counters = counters
    machine = interrupted.machine
    machine.relinked()
    recovery = interrupted.recovery
    postcopy = interrupted.postcopy
    targetPageSize = interrupted.recovery.targetPageSize
  }

  /// Whether the machine is whole and the source was told; nothing more will come.
  var isComplete: Bool { machine.phase == .completed }

  var report: DestinationReport {
    let progress = counters.snapshot
    var report = DestinationReport()
    report.bytesReceived = progress.bytesReceived
    report.zeroPages = progress.zeroPages
    report.normalPages = progress.normalPages
    report.deltaPages = progress.deltaPages
    report.hashedPages = progress.hashedPages
    report.missedPages = progress.missedPages
    report.passCount = progress.passCount
    report.confirmedToSource = machine.hasReturnPath && isComplete
    return report
  }

  // MARK: What the decoder finds

  mutating func visit(_ event: StreamEvent) throws {
    switch event {
    // Between two parts of memory nothing is answered, and a batch of hashes goes on.
    case .sectionPart, .ramEndOfSection: break
    default: try settleKnownPages()
    }
    if case .configuration(let configuration) = event, let bits = configuration.targetPageBits {
      targetPageSize = 1 << Int(bits)
    }
    if case .command(.postcopyAdvise(let advice?)) = event {
      targetPageSize = Int(clamping: advice.targetPageSize)
    }
    if case .sectionStart(let header) = event, header.name == "ram" { ramSectionID = header.id }
    switch event {
    case .command(.packaged), .command(.postcopyResume):
      // From here on pages come over both. Where there is no second one, the machine is not taken.
      try preempt?.awaitChannel(beside: channel)
    default: break
    }
    if let postcopy, event == .endOfStream, machine.phase == .running {
      preempt?.awaitOwed(postcopy, beside: channel)
      try Self.checkWhole(postcopy)
    }
    try perform(try machine.on(event))
  }

  mutating func visitPage(_ page: RAMPageAddress, content: RawSpan) throws {
    try machine.onPage(page)
    try arriveWithContent(page)
    try place(page, content)
    counters.normalPages.add(1, ordering: .relaxed)
    notePass()
  }

  mutating func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) throws {
    try machine.onPage(page)
    try arriveWithContent(page)
    if fill == 0 {
      try placeZero(page)
    } else {
      let content = [UInt8](repeating: fill, count: targetPageSize)
      try content.withBytes { try place(page, $0) }
    }
    counters.zeroPages.add(1, ordering: .relaxed)
    notePass()
  }

  mutating func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) throws {
    try machine.onPage(page)
    try arriveWithContent(page)
    guard machine.phase == .receivingPages else {
      throw DestinationStateMachine.Refusal(
        description: "The source sent a delta of a page to the machine that already runs.")
    }
    if deltaBase.count != targetPageSize {
      deltaBase = [UInt8](repeating: 0, count: targetPageSize)
    }
    do {
      try endpoint.read(page, into: &deltaBase)
    } catch {
      throw EndpointFailure(activity: "reading back the page that a delta changes", cause: error)
    }
    try deltaBase.apply(delta: xbzrle)
    try deltaBase.withBytes { try place(page, $0) }
    counters.deltaPages.add(1, ordering: .relaxed)
    notePass()
  }

  /// Puts a page where it belongs: for good while the machine runs, for the time being before.
  func place(_ page: RAMPageAddress, _ content: RawSpan) throws {
    do {
      guard let postcopy else { return try endpoint.place(page, content: content) }
      if machine.phase == .running { return try postcopy.serve(page, content) }
      try endpoint.place(page, content: content)
      postcopy.place(page)
    } catch let violation as PageArrivals.Violation {
      throw violation
    } catch {
      throw EndpointFailure(activity: "keeping a page of memory", cause: error)
    }
  }

  private func placeZero(_ page: RAMPageAddress) throws {
    do {
      guard let postcopy else { return try endpoint.placeZero(page) }
      if machine.phase == .running { return try postcopy.serve(page, nil) }
      try endpoint.placeZero(page)
      postcopy.place(page)
    } catch let violation as PageArrivals.Violation {
      throw violation
    } catch {
      throw EndpointFailure(activity: "keeping a page of memory", cause: error)
    }
  }

  /// A source may end only when it has sent everything that it took back: what it promised.
  ///
  /// What it never spoke of is zeros.
  private static func checkWhole(_ postcopy: PostcopyArrival) throws {
    let missing = postcopy.owedCount
    guard missing == 0 else {
      throw DestinationStateMachine.Refusal(
        description: "The source ended although \(missing) pages have not come.")
    }
  }

  private func notePass() {
    counters.passCount.store(UInt64(machine.passCount), ordering: .relaxed)
  }

  /// The source's bytes ended where a stream may end.
  mutating func endOfInput() throws {
    try machine.onEndOfInput()
  }

  // MARK: What is to be done

  private mutating func perform(_ actions: [DestinationStateMachine.Action]) throws {
    for action in actions {
      switch action {
      case .reply(let message):
        try reply(message)
      case .prepare(let configuration, let blocks):
        try counters.advance(to: .active)
        self.blocks = blocks
        counters.totalRAMBytes.store(
          blocks.reduce(0) { $0 &+ $1.usedLength }, ordering: .relaxed)
        do {
          try endpoint.prepare(configuration: configuration, blocks: blocks)
        } catch {
          throw EndpointFailure(activity: "preparing for the machine", cause: error)
        }
        try expectKnownPages(of: blocks)
        if machine.wasAdvised, let running = endpoint as? any PostcopyEndpoint {
          postcopy = PostcopyArrival(
            running, blocks: blocks, targetPageSize: targetPageSize, outbox: outbox,
            counters: counters)
          counters.remainingRAMBytes.store(
            counters.totalRAMBytes.load(ordering: .relaxed), ordering: .relaxed)
        }
      case .takeDeviceState(let state):
        try checkNothingIsMissed()
        do {
          try endpoint.takeDeviceState(state)
        } catch {
          throw EndpointFailure(activity: "keeping the state of the devices", cause: error)
        }
      case .seal:
        endAnnouncement()
        try seal()
        let wasSwitched = machine.wasSwitched
        do {
          try perform(machine.sealed())
          try outbox.drain()
        } catch {
          // One that runs already has all of it, whether or not the source hears of it.
          guard wasSwitched else { throw error }
        }
      case .advise(let advice): try advise(advice)
      case .discard(let block, let ranges):
        try postcopy?.discard(block, ranges)
        known?.discard(block: block, ranges)
      case .run(let state, let ping):
        try checkNothingIsMissed()
        let recovery = StreamDecoder.Recovery(
          ramSectionID: ramSectionID, blocks: blocks, targetPageSize: targetPageSize)
        try postcopy?.begin(state, ping: ping, recovery)
        try beginPreempt(recovery)
      case .replyBitmap(let block):
        guard let postcopy else { continue }
        try reply(.receivedBitmap(block: block, bitmap: try postcopy.bitmap(ofBlock: block)))
      case .announceKnownPages(let limit): try announceKnownPages(limit: limit)
      case .askAgain:
        if let recovery { try beginPreempt(recovery) }
        try postcopy?.askAgain()
        try counters.advance(to: .postcopyActive)
      }
    }
  }

  private func seal() throws {
    if let postcopy, machine.wasSwitched {
      try postcopy.waitUntilRunning()
      do {
        try postcopy.endServing()
      } catch {
        throw EndpointFailure(activity: "making memory ordinary again", cause: error)
      }
      return
    }
    do {
      try endpoint.complete()
    } catch {
      throw EndpointFailure(activity: "making the machine durable", cause: error)
    }
  }

  private func beginPreempt(_ recovery: StreamDecoder.Recovery) throws {
    guard let preempt, let postcopy else { return }
    try preempt.begin(postcopy, recovery, counters, beside: channel)
  }

  private func advise(_ advice: PostcopyAdvice) throws {
    guard let running = endpoint as? any PostcopyEndpoint else { return }
    do {
      try running.advise(advice)
    } catch {
      throw EndpointFailure(activity: "preparing for a postcopy", cause: error)
    }
  }

  func reply(_ message: ReturnPathMessage) throws {
    var bytes: [UInt8] = []
    try message.encode(into: &bytes)
    try outbox.answer(bytes)
  }

  // MARK: How it failed

  /// Whether the machine goes on although this link cannot: it runs and waits for another.
  mutating func outlivesLink() -> Bool {
    guard let postcopy, machine.wasSwitched else { return false }
    // What is given up for good is told to the source, if that still hears anything.
    if postcopy.giveUp() { return false }
    postcopy.unlink()
    guard postcopy.goesOn() else { return false }
    return machine.linkLost()
  }

  /// Lets go of whoever waits for a page of a machine that will never run.
  func abandon() {
    guard machine.wasSwitched, let running = endpoint as? any PostcopyEndpoint else { return }
    // It is over; what this fails at cannot be put right any more.
    try? running.endServing(missing: [])
    postcopy?.joinLoader()
  }

  /// Tells the source, if it listens, and says what a person is told.
  mutating func failure(_ error: any Error, isCancelled: Bool) -> MigrationError {
    let activity = machine.activity
    let error = postcopy?.loadFailure ?? error
    for case .reply(let message) in machine.fail() {
      // The source hears of the failure from this or from the closed link, whichever gets through.
      try? reply(message)
    }
    outbox.endAfterLastWord()
    let final: MigrationStatus = isCancelled ? .cancelled : .failed
    if isCancelled { try? counters.advance(to: .cancelling) }
    try? counters.advance(to: final)
    if isCancelled { return .cancelled(destination: .notStarted) }
    let bytes = counters.bytesReceived.load(ordering: .relaxed)
    switch error {
    case let error as EndpointFailure:
      return .endpoint(during: error.activity, cause: error.cause)
    case let error as DestinationStateMachine.Refusal:
      return .refused(reason: error.description, bytesReceived: bytes)
    case let error as TransportError:
      return .sourceClosed(during: activity, bytesReceived: bytes, cause: error)
    case let error as PageArrivals.Violation:
      return .refused(reason: error.description, bytesReceived: bytes)
    case let error as ResourceFailure:
      return .resources(during: error.activity, cause: error.cause)
    case let error as WireError where error.kind == .truncated:
      return .sourceClosed(during: activity, bytesReceived: bytes, cause: error)
    case let error as IllegalTransition:
      return .internal(error)
    default:
      return .malformedStream(bytesReceived: bytes, cause: error)
    }
  }
}

/// Where a reception stands whose link broke while the machine ran.
struct InterruptedReception: Sendable {
  let machine: DestinationStateMachine
  let postcopy: PostcopyArrival
  let recovery: StreamDecoder.Recovery
}

/// An error of the endpoint, told apart from those of the stream.
struct EndpointFailure: Error {
  let activity: String
  let cause: any Error
}
