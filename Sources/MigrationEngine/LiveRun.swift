// The thread that sends a running machine: it does what `LiveSource` says, and hands over to
// `PostcopyRun` where memory is to follow.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

/// One move of a machine that may run meanwhile.
final class LiveRun: Sendable {
  let session: SourceSession
  let endpoint: any LiveSourceEndpoint
  let options: LiveSourceOptions
  let machine: Mutex<LiveSource>
  /// While the machine runs here; the session's is for when it runs there.
  let bandwidthLimit: BandwidthLimit
  let timeline = Mutex(LiveTimeline())
  /// Announced whenever there may be something else to do.
  let signal = Signal()
  private let failure = FirstError()
  private let postcopy: Mutex<PostcopyRun?> = Mutex(nil)

  init(
    channel: ByteChannel, endpoint: any LiveSourceEndpoint, options: LiveSourceOptions
  ) {
    self.endpoint = endpoint
    self.options = options
    var sourceOptions = SourceOptions()
    sourceOptions.busyWindow = SourceOptions.pagerBusyWindow
    sourceOptions.bandwidthLimit = options.postcopyBandwidthLimit
    sourceOptions.waitsForClose = options.waitsForClose
    sourceOptions.usesKnownPages = options.usesKnownPages && options.usesReturnPath
    sourceOptions.openPreemptChannel = options.openPreemptChannel
    sourceOptions.announcementPatience = options.announcementPatience
    session = SourceSession(
      channel: channel, running: endpoint, options: sourceOptions,
      isPostcopy: options.allowsPostcopy, observer: options.statusObserver)
    bandwidthLimit = BandwidthLimit(options.bandwidthLimit)
    machine = Mutex(
      LiveSource(
        settings: options.settings, usesReturnPath: options.usesReturnPath,
        advice: options.allowsPostcopy ? session.format.advice : nil,
        confirmsPages: session.known != nil))
  }

  var counters: ProgressCounters { session.counters }

  // MARK: From beginning to end

  func run() throws(MigrationError) {
    session.begin()
    do {
      try counters.advance(to: .setup)
      if options.usesReturnPath {
        let reader = ReturnPathReader(session, signal: signal, failure: failure)
        let thread = try reader.start(for: self)
        drive()
        reader.endLink(after: outcome)
        thread.join()
      } else {
        drive()
        awaitClose()
      }
    } catch {
      failure.store(error)
    }
    session.preempt?.finish()
    endpoint.throttle(nil)
    endpoint.endRounds()
    if let postcopy = postcopy.withLock({ $0 }) { return try postcopy.conclude() }
    try conclude()
  }

  private func drive() {
    do {
      try carryOut()
    } catch {
      failure.store(error)
    }
  }

  /// Without a return path only the closed link tells that the destination has the machine.
  private func awaitClose() {
    guard failure.error == nil else { return session.channel.shutdownBoth() }
    try? session.channel.shutdownWrite()
    guard options.waitsForClose else { return }
    var scratch = ReceiveBuffer(byteCount: 4096)
    // A broken link is an end too: what became of the machine, only the destination can tell.
    while let count = try? scratch.fill(from: session.channel), count > 0 {}
    // Whoever gave the wait up did not see that end.
    if session.isCancelled {
      failure.store(TransportError.cancelled(action: "Waiting for the destination"))
    }
  }

  private var outcome: SourceOutcome? {
    if let postcopy = postcopy.withLock({ $0 }) { return postcopy.outcome }
    return machine.withLock { machine in
      guard case .finished(let outcome) = machine.phase else { return nil }
      return outcome
    }
  }

  private func conclude() throws(MigrationError) {
    let (state, activity) = machine.withLock { ($0.destinationRunState, $0.activity) }
    if let stopped = machine.withLock({ $0.stoppedAt }) {
      timeline.withLock { $0.downtime = session.elapsed - stopped }
    }
    switch outcome {
    // Whatever broke the link after the destination had said that it has the machine.
    case .completed where options.usesReturnPath || failure.error == nil:
      do throws(IllegalTransition) {
        try counters.advance(to: .completed)
      } catch {
        throw .internal(error)
      }
      return
    case .destinationFailed(let code):
      try? counters.advance(to: .failed)
      throw .destinationFailed(code: code)
    case .completed, .leftWaiting, nil: break
    }
    if session.isCancelled {
      try? counters.advance(to: .cancelling)
      try? counters.advance(to: .cancelled)
      throw .cancelled(destination: state)
    }
    try? counters.advance(to: .failed)
    throw MigrationError(
      sending: failure.error ?? ClosedEarly(), during: activity, destination: state)
  }

  // MARK: What others ask

  func cancel() -> Bool {
    // Under the lock: either the last step is not handed out any more, or it was, and what has
    // become of the machine is unknown.
    let isInTime = machine.withLock { machine in
      guard postcopy.withLock({ $0 == nil }), machine.canBeGivenUp else { return false }
      session.cancel()
      return true
    }
    signal.announce()
    return isInTime
  }

  func breakLink() -> Bool {
    guard postcopy.withLock({ $0 }) != nil else { return false }
    session.breakLink()
    return true
  }

  func abandon() {
    session.cancel()
    signal.announce()
  }

  func change(_ settings: LiveSettings, bandwidthLimit: UInt64?, postcopyBandwidthLimit: UInt64?) {
    self.bandwidthLimit.change(to: bandwidthLimit)
    session.bandwidthLimit.change(to: postcopyBandwidthLimit)
    machine.withLock { $0.change(settings) }
    signal.announce()
  }

  func proceed() -> Bool {
    let waited = machine.withLock { $0.proceed() }
    signal.announce()
    return waited
  }

  func startPostcopy() -> Bool {
    let will = machine.withLock { $0.startPostcopy() }
    signal.announce()
    return will
  }

  func checkGoingOn() throws {
    if let error = failure.error { throw error }
    if session.isCancelled { throw TransportError.cancelled(action: "Sending") }
  }

  // MARK: Postcopy

  /// Hands what is left over to a postcopy, and writes that to its end.
  func switchToPostcopy() throws {
    try session.preempt?.connect(afterAnswer: true)
    let state = try endpoint.takeDeviceState()
    let missing = try collectMissing()
    let run = PostcopyRun(
      behind: SourceSession(session, carrying: state), missing: missing, signal: signal,
      failure: failure)
    // From here on the return path's reader serves its requests, and nothing can be cancelled.
    let isInTime = try machine.withLock { machine in
      try checkGoingOn()
      // All of that took its time, in which the destination may have said that it failed.
      guard machine.phase == .switchingToPostcopy else { return false }
      postcopy.withLock { $0 = run }
      return true
    }
    if isInTime { run.send() }
  }

  /// The host pages of each block that are not at the destination as they are here.
  private func collectMissing() throws -> [PageBitmap] {
    let blocks = session.format.blocks
    var missing = blocks.map { block in
      PageBitmap(pageCount: Int(block.usedLength / UInt64(Self.size(of: block))))
    }
    if machine.withLock({ $0.sendsAllAgain }) {
      return missing.map { PageBitmap(complementOf: $0) }
    }
    // What did not have to travel has to be placed all the same, or the guest would wait for it.
    var runs: [RAMPageRun] = []
    while let run = try endpoint.nextRun(limit: .max) { runs.append(run) }
    for run in runs + endpoint.excludedRuns() {
      let index = run.start.blockIndex
      let size = UInt64(Self.size(of: blocks[index]))
      // A host page that is there in part is placed whole, and counts as missing.
      let first = run.start.offset / size
      let end = (run.start.offset + run.byteCount + size - 1) / size
      for page in first..<end { missing[index].insert(Int(page)) }
    }
    return missing
  }

  private static func size(of block: RAMBlockDescription) -> Int { Int(block.pageSize ?? 4096) }
}

extension LiveRun: ReturnPathTaker {
  func take(_ message: ReturnPathMessage, at arrival: ContinuousClock.Instant) throws {
    if let postcopy = postcopy.withLock({ $0 }) {
      return try postcopy.take(message, at: arrival)
    }
    if case .pong(1) = message { session.preempt?.noteAnswer() }
    if try takeKnown(message) { return }
    let successor = try machine.withLock { machine -> PostcopyRun? in
      // It takes over under this lock, and a word that came just then is meant for it.
      if let postcopy = postcopy.withLock({ $0 }) { return postcopy }
      try machine.receive(message)
      return nil
    }
    try successor?.take(message, at: arrival)
  }

  func answer(
    since arrival: ContinuousClock.Instant, _ reader: PageReader, _ encoder: inout StreamEncoder
  ) throws {
    try postcopy.withLock({ $0 })?.answer(since: arrival, reader, &encoder)
  }

  var isOver: Bool { outcome != nil }

  var isConfirmed: Bool {
    switch outcome {
    case .completed, .destinationFailed: true
    case .leftWaiting, nil: false
    }
  }
}

/// When things happened in a move.
struct LiveTimeline {
  var setup: Duration?
  var downtime: Duration?
  var precopyBytes: UInt64?
}

extension LiveRun {
  /// How far it has come.
  var account: LiveAccount {
    var account = LiveAccount()
    account.progress = counters.snapshot
    let times = timeline.withLock { $0 }
    account.setup = times.setup
    let postcopy = postcopy.withLock { $0 }
    machine.withLock { machine in
      account.syncCount = machine.syncCount
      account.dirtyBytesPerSecond = machine.convergence.dirtying.mean
      account.sentBytesPerSecond = machine.convergence.throughput.mean
      account.expectedDowntime = machine.convergence.expectedDowntime
      account.prediction = machine.isStopped ? nil : machine.convergence.prediction
      account.throttle = machine.throttle
      if let stopped = machine.stoppedAt {
        account.downtime =
          times.downtime ?? postcopy?.report.running.map { $0 - stopped }
          ?? session.elapsed - stopped
      }
    }
    // The parts were noted after the whole was read, perhaps, while bytes went out.
    let sent = account.progress.bytesSent
    let before = min(times.precopyBytes ?? sent, sent)
    let handed = max(before, min(postcopy?.timeline.withLock { $0.switchoverBytes } ?? sent, sent))
    account.phaseBytes.precopy = before
    account.phaseBytes.downtime = handed - before
    account.phaseBytes.postcopy = sent - handed
    if let postcopy { account.requestLatency = postcopy.report.requestLatency }
    return account
  }
}
