// The receiving engine: bytes of a channel through the decoder, its events through the state
// machine, pages straight into the endpoint. All of it on the thread that calls `run()`.

internal import MigrationCore
internal import Synchronization
public import Transport
internal import Wire

/// Receives a machine from a migration source and gives it to an endpoint.
public final class DestinationEngine: Sendable {
  private let channel: Mutex<ByteChannel?>
  private let endpoint: Mutex<EndpointBox>
  private let options: DestinationOptions
  private let counters: ProgressCounters
  private let interrupted: Mutex<InterruptedReception?> = Mutex(nil)
  private let isCancelled = Atomic<Bool>(false)

  /// An engine that will receive from `channel`, which a source is connected to.
  ///
  /// The endpoint is called by the thread that calls `run()`, and must not be used by any other
  /// while that runs.
  public init(
    channel: ByteChannel, endpoint: sending any DestinationEndpoint,
    options: DestinationOptions = DestinationOptions()
  ) {
    self.channel = Mutex(channel)
    self.endpoint = Mutex(EndpointBox(endpoint: endpoint))
    self.options = options
    counters = ProgressCounters(observer: options.statusObserver)
  }

  /// An engine for a postcopy that another began: its machine runs, and waits for a link.
  ///
  /// Faults are heard of from now on; `resume(over:)` carries on. Throws what the endpoint throws.
  public init(
    resuming interrupted: InterruptedPostcopy, endpoint: any PostcopyEndpoint,
    options: DestinationOptions = DestinationOptions()
  ) throws {
    channel = Mutex(nil)
    self.endpoint = Mutex(EndpointBox(endpoint: endpoint))
    self.options = options
    counters = ProgressCounters(from: .postcopyPaused, observer: options.statusObserver)
    let recovery = interrupted.recovery
    counters.totalRAMBytes.store(
      recovery.blocks.reduce(0) { $0 &+ $1.usedLength }, ordering: .relaxed)
    let postcopy = PostcopyArrival(endpoint, interrupted, counters: counters)
    self.interrupted.withLock {
      $0 = InterruptedReception(machine: .interrupted(), postcopy: postcopy, recovery: recovery)
    }
    try postcopy.serve(recovery)
  }

  /// How far it has come; from any thread, at any time.
  public var progress: MigrationProgress { counters.snapshot }

  /// Ends it from any thread: `run()` throws `.cancelled`, unless it is over already.
  ///
  /// A machine that runs already goes on and waits for another link.
  public func cancel() {
    isCancelled.store(true, ordering: .releasing)
    breakLink()
  }

  /// Ends the connection from any thread, as if the source had: for a machine that runs already.
  public func breakLink() {
    channel.withLock { $0 }?.shutdownBoth()
  }

  /// Receives the machine; returns once it is complete in the endpoint and the source knows.
  ///
  /// Blocks: call it on a thread of its own, once. Where it throws
  /// ``MigrationError/interrupted(during:bytesReceived:cause:)`` the machine runs and waits for
  /// `resume(over:)`.
  ///
  /// - Parameter preempt: where the channel of requested pages is handed over, where both ends have
  ///   the capability `postcopy-preempt`.
  public func run(
    preempt: PreemptReception? = nil
  ) throws(MigrationError) -> DestinationReport {
    guard let channel = channel.withLock({ $0 }) else {
      throw .refused(reason: "A postcopy that was interrupted is resumed.", bytesReceived: 0)
    }
    let endpoint = self.endpoint.withLock { $0.endpoint }
    let reception = Reception(
      endpoint: endpoint, channel: channel, preempt: preempt, options: options,
      counters: counters)
    var decoder = options.decoder
    decoder.takesKnownPages = options.knownContent != nil
    return try conclude(
      reception, StreamDecoder(options: decoder), over: channel, preempt, beginning: .setup)
  }

  /// Goes on where the link broke after the machine had begun to run, over a new one.
  ///
  /// Blocks, and throws, as `run()` does; to be called after that has thrown, any number of times.
  ///
  /// - Parameters:
  ///   - channel: the new connection.
  ///   - preempt: where the channel of requested pages is handed over, as for `run(preempt:)`.
  public func resume(
    over channel: ByteChannel, preempt: PreemptReception? = nil
  ) throws(MigrationError) -> DestinationReport {
    guard let interrupted = interrupted.withLock({ $0.take() }) else {
      throw .refused(reason: "There is nothing to resume.", bytesReceived: 0)
    }
    self.channel.withLock { $0 = channel }
    let endpoint = self.endpoint.withLock { $0.endpoint }
    var reception = Reception(
      resuming: interrupted, endpoint: endpoint, channel: channel, preempt: preempt,
      counters: counters)
    var decoder = options.decoder
    decoder.recovery = interrupted.recovery
    decoder.takesKnownPages = options.knownContent != nil
    reception.knownContent = options.knownContent
    do {
      try reception.expectKnownPages(of: interrupted.recovery.blocks)
    } catch {
      // The machine runs on, and another link may find what this one lacks.
      interrupted.postcopy.unlink()
      preempt?.close()
      self.interrupted.withLock { $0 = interrupted }
      throw .interrupted(
        during: "getting ready for pages by their hashes", bytesReceived: 0, cause: error)
    }
    return try conclude(
      reception, StreamDecoder(options: decoder), over: channel, preempt,
      beginning: .postcopyRecover)
  }

  /// Receives to the end, or says what the end was instead.
  private func conclude(
    _ beginning: Reception, _ decoder: StreamDecoder, over channel: ByteChannel,
    _ preempt: PreemptReception?, beginning status: MigrationStatus
  ) throws(MigrationError) -> DestinationReport {
    let start = ContinuousClock.now
    var reception = beginning
    var decoder = decoder
    defer { reception.end() }
    do {
      try counters.advance(to: status)
      try receive(into: &reception, &decoder, over: channel)
      try counters.advance(to: .completed)
      preempt?.close()
    } catch {
      // Nothing of this link comes any more once another one is waited for.
      preempt?.close()
      let error = preempt?.failure ?? error
      let activity = reception.machine.activity
      if let recovery = decoder.recovery, let postcopy = reception.postcopy,
        reception.outlivesLink()
      {
        interrupted.withLock {
          $0 = InterruptedReception(
            machine: reception.machine, postcopy: postcopy, recovery: recovery)
        }
        try? counters.advance(to: .postcopyPaused)
        throw .interrupted(
          during: activity, bytesReceived: counters.bytesReceived.load(ordering: .relaxed),
          cause: error)
      }
      reception.abandon()
      throw reception.failure(error, isCancelled: isCancelled.load(ordering: .acquiring))
    }
    var report = reception.report
    report.total = ContinuousClock.now - start
    return report
  }

  private func receive(
    into reception: inout Reception, _ decoder: inout StreamDecoder, over channel: ByteChannel
  ) throws {
    var buffer = ReceiveBuffer(byteCount: max(4096, options.readByteCount))
    while !reception.isComplete {
      let count = try buffer.fill(from: channel)
      guard count > 0 else {
        try decoder.finish(to: &reception)
        try reception.endOfInput()
        return
      }
      counters.bytesReceived.add(UInt64(count), ordering: .relaxed)
      try buffer.withReceived { bytes in try decoder.feed(bytes, to: &reception) }
      // A batch of hashes waits for more as long as more is there: a full one is looked for beside
      // this thread.
      if reception.hasPendingHashes, try !channel.waitForBytes(until: .now) {
        try reception.settleKnownPages()
      }
    }
  }
}

/// Carries an endpoint that one thread uses at a time.
private struct EndpointBox {
  let endpoint: any DestinationEndpoint
}
