// The machine runs at the destination first and its memory follows. The thread that called writes
// what `PostcopySource` says; a second one reads what the destination asks for and writes those
// pages itself, so that no request waits for a thread to wake up. It never waits for the channel: a
// destination that cannot get rid of its words may read nothing either.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

/// Sends a machine by postcopy, from the beginning or after a broken link.
final class PostcopyRun: SourceRun {
  let session: SourceSession
  let machine: Mutex<PostcopySource>
  /// Serialises writes to the channel, whole sections at a time.
  let writing = Mutex(())
  /// Requested pages that wait for the channel.
  let answers = WaitingAnswers()
  /// Announced whenever the machine may have something else to say.
  let signal: Signal
  let timeline = Mutex(PostcopyTimeline())
  /// Raised by a request, so that a batch being made is written as it is.
  let isInterrupted = Atomic<Bool>(false)
  private let failure: FirstError
  private let isRecovery: Bool
  private let isBehindPrecopy: Bool

  init(
    channel: ByteChannel, endpoint: any SourceEndpoint, options: SourceOptions,
    beginning: PostcopySource.Beginning
  ) {
    isRecovery = beginning == .recovery
    isBehindPrecopy = false
    signal = Signal()
    failure = FirstError()
    session = SourceSession(
      channel: channel, endpoint: endpoint, options: options, isPostcopy: true,
      status: isRecovery ? .postcopyPaused : .none)
    machine = Mutex(
      PostcopySource(
        blocks: session.format.blocks, targetPageSize: session.format.targetPageSize,
        omittedBlocks: endpoint.omittedBlocks, demandOrder: endpoint.demandOrder,
        beginning: beginning, isInDoubt: options.isDestinationInDoubt))
    machine.withLock { $0.answersApart = session.preempt != nil }
  }

  /// Goes on where a precopy leaves off, over the same link, whose return path somebody reads for
  /// this run: `signal` is announced when there was something, `failure` kept where that ended.
  ///
  /// - Parameter missing: the host pages of each block that the destination does not have.
  init(
    behind session: SourceSession, missing: [PageBitmap], signal: Signal, failure: FirstError
  ) {
    isRecovery = false
    isBehindPrecopy = true
    self.signal = signal
    self.failure = failure
    self.session = session
    machine = Mutex(
      PostcopySource(
        blocks: session.format.blocks, targetPageSize: session.format.targetPageSize,
        beginning: .switched(missing: missing)))
    machine.withLock { $0.answersApart = session.preempt != nil }
  }

  var counters: ProgressCounters { session.counters }

  var report: SourceReport {
    var report = session.report
    machine.withLock { machine in
      report.demandOrder = machine.observedDemand
      report.damagedPages = machine.damagedPages
      report.damagedPageCount = machine.damagedPageCount
    }
    timeline.withLock { timeline in
      report.requestLatency = timeline.latency.summary
      report.switchover = timeline.switchover
      report.running = timeline.running
    }
    return report
  }

  func cancel() {
    session.cancel()
    signal.announce()
  }

  func change(bandwidthLimit: UInt64?) {
    session.bandwidthLimit.change(to: bandwidthLimit)
    signal.announce()
  }

  // MARK: From beginning to end

  func run() throws(MigrationError) {
    session.begin()
    do {
      try refuseOmittedBlocks()
      try counters.advance(to: isRecovery ? .postcopyRecover : .setup)
      let reader = ReturnPathReader(session, signal: signal, failure: failure)
      let thread = try reader.start(for: self)
      send()
      reader.endLink(after: outcome)
      thread.join()
    } catch {
      failure.store(error)
    }
    session.preempt?.finish()
    try conclude()
  }

  /// Writes all there is to write; what goes wrong is kept as the failure.
  func send() {
    do {
      try write()
    } catch {
      failure.store(error)
    }
  }

  /// Opens the channel of requested pages, where there is to be one, and hears of its loss.
  func openPreemptChannel() throws {
    guard let preempt = session.preempt else { return }
    // A recovery comes here after the destination has told what it has.
    try preempt.connect(afterAnswer: !isRecovery)
    try preempt.watch { [weak self] loss in self?.lose(loss) }
  }

  /// The channel of requested pages is gone, and with it the link; unless all went over it.
  private func lose(_ loss: PreemptChannelLost) {
    let isNeeded = machine.withLock { machine in
      switch machine.phase {
      case .ending, .finished: false
      default: true
      }
    }
    guard isNeeded else { return }
    failure.store(loss)
    session.breakLink()
    signal.announce()
  }

  private func refuseOmittedBlocks() throws(MigrationError) {
    guard !session.endpoint.omittedBlocks.isEmpty else { return }
    throw .endpoint(
      during: "the preparation of an instant restore",
      cause: ProtocolViolation(
        during: "preparing an instant restore", expected: "every block to be sent",
        found: "blocks whose content the destination is to have already; it empties all memory "
          + "when postcopy is announced, so restore this one eagerly"))
  }

  /// How it ended; nil where it did not end by itself.
  var outcome: SourceOutcome? {
    machine.withLock { machine in
      guard case .finished(let outcome) = machine.phase else { return nil }
      return outcome
    }
  }

  /// Tells how it ended.
  func conclude() throws(MigrationError) {
    let (state, activity) = machine.withLock { ($0.destinationRunState, $0.activity) }
    switch outcome {
    case .completed:
      do throws(IllegalTransition) {
        try counters.advance(to: .postcopyActive)
        try counters.advance(to: .completed)
      } catch {
        throw .internal(error)
      }
      return
    case .destinationFailed(let code):
      settle(.notStarted)
      throw .destinationFailed(code: code)
    case .leftWaiting(let count):
      settle(state)
      throw .damagedPages(count: count, destination: state)
    case nil:
      settle(state)
      if session.isCancelled { throw .cancelled(destination: state) }
      throw MigrationError(
        sending: failure.error ?? ClosedEarly(), during: activity, destination: state)
    }
  }

  /// The last status of a migration that did not complete.
  ///
  /// A step that the table does not have leaves the status before it, which is the truer one.
  private func settle(_ state: DestinationRunState) {
    switch state {
    case .notStarted where session.isCancelled:
      try? counters.advance(to: .cancelling)
      try? counters.advance(to: .cancelled)
    case .notStarted:
      try? counters.advance(to: .failed)
    case .unknown, .running:
      // A recovery that nobody answered was never active, and is not told to have been.
      if (try? counters.advance(to: .postcopyPaused)) != nil { return }
      // While nobody knows, it counts as running: its source must not run.
      try? counters.advance(to: .postcopyActive)
      try? counters.advance(to: .postcopyPaused)
    }
  }

  /// Whether something failed or somebody wants an end.
  func checkGoingOn() throws {
    if let error = failure.error { throw error }
    if session.isCancelled { throw TransportError.cancelled(action: "Sending") }
  }

  /// Takes note of the state that a message or a write led to.
  ///
  /// Both threads call it; the status follows under the machine's lock, in the machine's order, and
  /// is told once the lock is free: whoever hears of it may ask how far everything is.
  func noteProgress() throws(IllegalTransition) {
    defer { counters.tell() }
    try machine.withLock { machine throws(IllegalTransition) in
      counters.pageRequests.store(UInt64(machine.requestCount), ordering: .relaxed)
      counters.remainingRAMBytes.store(machine.remainingByteCount, ordering: .relaxed)
      switch machine.phase {
      case .opening, .askingBitmaps, .awaitingBitmaps, .resuming, .finished: return
      case .sendingAhead, .switching:
        // Behind a precopy the devices are moving already.
        try counters.note(isBehindPrecopy ? .device : .active)
      case .pushing, .ending:
        let isRunning = machine.destinationRunState == .running
        try counters.note(isRunning ? .postcopyActive : .device)
      }
    }
  }
}

/// When things happened, and how long requests took.
struct PostcopyTimeline {
  var latency = LatencyHistogram()
  var requests = RequestPace()
  /// When pages began to go to a machine that was known to run.
  var pushing: ContinuousClock.Instant?
  var switchover: Duration?
  /// Bytes that had gone out when the device state was written.
  var switchoverBytes: UInt64?
  var running: Duration?
}
