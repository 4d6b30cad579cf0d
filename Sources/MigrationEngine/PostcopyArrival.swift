// A postcopy as its destination's threads share it: what has arrived, the link that requests go
// out over, and how far the loading of the devices has come.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

/// The shared part of a postcopy's destination.
///
/// Three threads meet here: the one that receives, the one that loads the devices, and the
/// endpoint's that hears of page faults; with a channel of requested pages a fourth, which receives
/// those.
final class PostcopyArrival: Sendable {
  /// How far the machine is.
  enum Loading: Sendable, Equatable {
    /// The devices get their state.
    case loading
    /// They have it, and the source is being told: from here on the machine will run.
    case committed
    /// The source was told; the machine is started.
    case starting
    /// It runs, or stays paused as it was asked to.
    case running
    /// It will never run.
    case failed
  }

  private struct Link {
    var outbox: Outbox?
    /// Whether requests may go out: not between a broken link and its recovery's RESUME_ACK.
    var takesRequests = true
  }

  private let endpoint: any PostcopyEndpoint
  private let counters: ProgressCounters
  private let targetPageSize: Int
  private let arrivals: Mutex<PageArrivals>
  /// Held while a page is put in place, by whichever thread receives it: whether there is none to
  /// come any more.
  private let placing = Mutex(false)
  private let link: Mutex<Link>
  private let loading = Mutex(Loading.loading)
  private let loader: Mutex<NamedThread?> = Mutex(nil)
  private let signal = Signal()
  private let failure = FirstError()

  init(
    _ endpoint: any PostcopyEndpoint, blocks: [RAMBlockDescription], targetPageSize: Int,
    outbox: Outbox, counters: ProgressCounters
  ) {
    self.endpoint = endpoint
    self.counters = counters
    self.targetPageSize = targetPageSize
    arrivals = Mutex(
      PageArrivals(
        blocks: blocks, targetPageSize: targetPageSize,
        pageSizes: blocks.indices.map(endpoint.pageByteCount)))
    link = Mutex(Link(outbox: outbox))
  }

  /// A postcopy that ran before and has no link.
  init(
    _ endpoint: any PostcopyEndpoint, _ interrupted: InterruptedPostcopy,
    counters: ProgressCounters
  ) {
    self.endpoint = endpoint
    self.counters = counters
    let recovery = interrupted.recovery
    targetPageSize = recovery.targetPageSize
    arrivals = Mutex(
      PageArrivals(
        blocks: recovery.blocks, targetPageSize: recovery.targetPageSize,
        pageSizes: recovery.blocks.indices.map(endpoint.pageByteCount), kept: interrupted.pages))
    link = Mutex(Link(takesRequests: false))
    loading.withLock { $0 = .running }
    countRemaining()
  }

  // MARK: Pages

  /// A page came before the machine runs.
  func place(_ page: RAMPageAddress) { arrivals.withLock { $0.place(page) } }

  /// The source takes pages back.
  func discard(_ block: String, _ ranges: [RAMDiscardRange]) throws {
    let (index, discarded) = try arrivals.withLock { try $0.discard(block: block, ranges) }
    for range in discarded { try endpoint.discard(range, ofBlock: index) }
  }

  /// From now on pages come over two channels.
  func expectTwoChannels() { arrivals.withLock { $0.hasTwoChannels = true } }

  /// A target page comes while the machine runs; `content` is nil for zeros.
  func serve(
    _ page: RAMPageAddress, _ content: RawSpan?, over channel: PageArrivals.Channel = .main
  ) throws {
    // One page at a time, so that nothing happens between the steps but faults.
    try placing.withLock { isOver in
      if isOver { return }
      let progress = try arrivals.withLock { try $0.take(page, over: channel) }
      // The guest may have written to what came first.
      if progress == .superfluous { return }
      if let content {
        try endpoint.fill(page, content: content)
      } else {
        try endpoint.fillZero(page)
      }
      guard case .whole(let whole) = progress else { return }
      try endpoint.keep(whole)
      let (isAwaited, missing) = arrivals.withLock { ($0.arrive(whole), $0.missingCount) }
      try endpoint.release(whole, isAwaited: isAwaited, isZero: content == nil)
      counters.remainingRAMBytes.store(UInt64(missing * targetPageSize), ordering: .relaxed)
    }
  }

  /// Target pages that the source said it would send and has not sent.
  var owedCount: Int { arrivals.withLock { $0.owedCount } }

  /// Lets memory be ordinary; what never came is zeros.
  func endServing() throws {
    placing.withLock { $0 = true }
    do {
      try endpoint.endServing(missing: arrivals.withLock { $0.missingRanges() })
    } catch {
      // The machine goes on, and its source says once more that this is all.
      placing.withLock { $0 = false }
      throw error
    }
  }

  private func countRemaining() {
    let missing = arrivals.withLock { $0.missingCount }
    counters.remainingRAMBytes.store(UInt64(missing * targetPageSize), ordering: .relaxed)
  }

  func bitmap(ofBlock name: String) throws -> ReceivedBitmap {
    try arrivals.withLock { try $0.bitmap(ofBlock: name) }
  }

  /// Somebody waits for a page.
  ///
  /// - Returns: whether it has arrived.
  private func fault(_ page: RAMPageAddress) -> Bool {
    link.withLock { link in
      let answer = arrivals.withLock { $0.fault(page) }
      guard case .request(let message) = answer else { return answer == .present }
      counters.pageRequests.add(1, ordering: .relaxed)
      // One that cannot be sent is sent again over the next link.
      if link.takesRequests { try? Self.send([message], to: link.outbox) }
      return false
    }
  }

  // MARK: The link

  /// Tells the source what became of the machine.
  private func reply(_ message: ReturnPathMessage) throws {
    guard let outbox = link.withLock({ $0.outbox }) else { throw ClosedEarly() }
    var bytes: [UInt8] = []
    try message.encode(into: &bytes)
    try outbox.answer(bytes)
  }

  /// The link is gone; faults are kept for the next one.
  func unlink() {
    let outbox = link.withLock { link in
      link.takesRequests = false
      return link.outbox.take()
    }
    outbox?.end()
  }

  /// A new link is there, over which nothing is asked for yet.
  func relink(_ outbox: Outbox) { link.withLock { $0.outbox = outbox } }

  /// Asks for everything that somebody waits for, and for what they come to wait for.
  func askAgain() throws {
    try link.withLock { link in
      let messages = arrivals.withLock { $0.requestsAgain() }
      try Self.send(messages, to: link.outbox)
      link.takesRequests = true
    }
  }

  /// Sends requests, of which there is at most one for each page.
  private static func send(_ messages: [ReturnPathMessage], to outbox: Outbox?) throws {
    guard let outbox, !messages.isEmpty else { return }
    var bytes: [UInt8] = []
    for message in messages { try message.encode(into: &bytes) }
    try outbox.send(bytes)
  }

  // MARK: Loading and running

  /// Serves faults, and loads and runs the machine on a thread of its own: what it touches comes
  /// over the very link that the caller reads.
  func begin(
    _ state: DeviceState, ping: UInt32?, _ recovery: StreamDecoder.Recovery
  ) throws {
    countRemaining()
    try serve(recovery)
    do {
      let thread = try NamedThread(name: "godwit-load") { [self] in load(state, ping: ping) }
      loader.withLock { $0 = thread }
    } catch {
      throw ResourceFailure(activity: "starting a thread", cause: error)
    }
  }

  /// Whether somebody may come to wait for a page.
  let isServing = Atomic<Bool>(false)

  /// Has faults be heard of from now on.
  func serve(_ recovery: StreamDecoder.Recovery) throws {
    isServing.store(true, ordering: .releasing)
    try endpoint.beginServing(recovery) { [self] page in fault(page) }
  }

  private func load(_ state: DeviceState, ping: UInt32?) {
    do {
      do {
        try endpoint.load(state)
      } catch {
        throw EndpointFailure(activity: "loading the state of the devices", cause: error)
      }
      guard advance(from: .loading, to: .committed) else { return }
      endpoint.commit()
      // A link that breaks now is as good as one that breaks later: the source cannot know whether
      // the answer got through, counts the machine as running, and is waited for.
      if let ping { try? reply(.pong(ping)) }
      try counters.advance(to: .postcopyActive)
      set(.starting)
      do {
        try endpoint.run()
      } catch {
        throw EndpointFailure(activity: "letting the machine run", cause: error)
      }
      set(.running)
    } catch {
      let state = loading.withLock { $0 }
      // Who gave it up meanwhile knows why, and tells the source.
      guard state != .failed else { return }
      failure.store(error)
      let didGiveUp = giveUp()
      if state == .loading, !didGiveUp { return }
      // Before the source counts on the machine it is told that there will be none.
      let isTold = didGiveUp && (try? reply(.shut(status: 1))) != nil
      set(.failed)
      // The receiving thread reads the end of the link, and then why.
      let outbox = link.withLock { $0.outbox }
      if isTold { outbox?.endAfterLastWord() } else { outbox?.end() }
    }
  }

  /// Waits for the thread that loads and runs the machine, which is about to end: the machine runs,
  /// or will not, and nobody waits for a page any more.
  func joinLoader() { loader.withLock { $0.take() }?.join() }

  /// Gives up a machine that was not committed to, so that its source can go on; says whether this
  /// call did so.
  func giveUp() -> Bool {
    guard advance(from: .loading, to: .failed) else { return false }
    endpoint.giveUp()
    return true
  }

  /// Whether a machine that was committed to goes on without its link.
  func goesOn() -> Bool { wait { $0 != .loading && $0 != .committed } != .failed }

  /// Waits until the machine runs, all of its pages having come; throws why it does not.
  func waitUntilRunning() throws {
    let state = wait { $0 == .running || $0 == .failed }
    joinLoader()
    if state == .failed {
      throw failure.error ?? ClosedEarly()
    }
  }

  /// Why the machine could not be loaded or run, where it could not.
  var loadFailure: (any Error)? { failure.error }

  private func advance(from: Loading, to: Loading) -> Bool {
    let isDone = loading.withLock { loading in
      guard loading == from else { return false }
      loading = to
      return true
    }
    signal.announce()
    return isDone
  }

  private func set(_ state: Loading) {
    loading.withLock { $0 = state }
    signal.announce()
  }

  private func wait(until isReached: (Loading) -> Bool) -> Loading {
    while true {
      let seen = signal.changeCount
      let state = loading.withLock { $0 }
      if isReached(state) { return state }
      signal.wait(after: seen, timeout: .seconds(1))
    }
  }
}
