// The receiving engine: bytes of a channel through the decoder, its events through the state
// machine, pages straight into the endpoint. All of it on the thread that calls `run()`.

internal import MigrationCore
internal import Synchronization
public import Transport
internal import Wire

/// Receives a machine from a migration source and gives it to an endpoint.
public final class DestinationEngine: Sendable {
  private let channel: ByteChannel
  private let endpoint: Mutex<EndpointBox>
  private let options: DestinationOptions
  private let counters = ProgressCounters()
  private let isCancelled = Atomic<Bool>(false)

  /// An engine that will receive from `channel`, which a source is connected to.
  ///
  /// The endpoint is called by the thread that calls `run()`, and must not be used by any other
  /// while that runs.
  public init(
    channel: ByteChannel, endpoint: sending any DestinationEndpoint,
    options: DestinationOptions = DestinationOptions()
  ) {
    self.channel = channel
    self.endpoint = Mutex(EndpointBox(endpoint: endpoint))
    self.options = options
  }

  /// How far it has come; from any thread, at any time.
  public var progress: MigrationProgress { counters.snapshot }

  /// Ends it from any thread: `run()` throws `.cancelled`, unless it is over already.
  public func cancel() {
    isCancelled.store(true, ordering: .releasing)
    channel.shutdownBoth()
  }

  /// Receives the machine; returns once it is complete in the endpoint and the source knows.
  ///
  /// Blocks: call it on a thread of its own, once.
  public func run() throws(MigrationError) -> DestinationReport {
    let start = ContinuousClock.now
    let endpoint = self.endpoint.withLock { $0.endpoint }
    var reception = Reception(
      endpoint: endpoint, channel: channel, options: options, counters: counters)
    do {
      try counters.advance(to: .setup)
      try receive(into: &reception)
      try counters.advance(to: .completed)
    } catch {
      throw reception.failure(error, isCancelled: isCancelled.load(ordering: .acquiring))
    }
    var report = reception.report
    report.total = ContinuousClock.now - start
    return report
  }

  private func receive(into reception: inout Reception) throws {
    var decoder = StreamDecoder(options: options.decoder)
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
    }
  }
}

/// Carries an endpoint that one thread uses at a time.
private struct EndpointBox {
  let endpoint: any DestinationEndpoint
}
