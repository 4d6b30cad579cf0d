// The thread that reads what a destination says, for whoever sends at the time.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

/// Takes what a destination says; called by the thread that reads it.
protocol ReturnPathTaker: AnyObject, Sendable {
  /// A message came.
  func take(_ message: ReturnPathMessage, at arrival: ContinuousClock.Instant) throws

  /// All messages of one read were taken: time to answer, with a reader and an encoder of the
  /// thread's own.
  func answer(
    since arrival: ContinuousClock.Instant, _ reader: PageReader, _ encoder: inout StreamEncoder
  ) throws

  /// Whether the end of the return path is in order now.
  var isOver: Bool { get }

  /// Whether the destination has said its last word.
  var isConfirmed: Bool { get }
}

/// Reads a return path to its end on a thread of its own.
final class ReturnPathReader: Sendable {
  /// Announced after everything that was taken, and at the end.
  let signal: Signal
  private let session: SourceSession
  private let failure: FirstError
  private let ended = Atomic<Bool>(false)

  /// How long to wait for a last word of the destination once the link is being ended.
  private static let lastWord: Duration = .seconds(2)

  init(_ session: SourceSession, signal: Signal, failure: FirstError) {
    self.session = session
    self.signal = signal
    self.failure = failure
  }

  /// Starts the thread; what goes wrong ends the link and is kept as the failure.
  func start(for taker: any ReturnPathTaker) throws -> NamedThread {
    do {
      return try NamedThread(name: "godwit-requests") { [self] in
        do {
          try read(for: taker)
        } catch {
          failure.store(error)
          session.breakLink()
        }
        // Nothing is asked for any more, and who waits for the destination's answer to connect to
        // it waits in vain.
        session.preempt?.end()
        ended.store(true, ordering: .releasing)
        signal.announce()
      }
    } catch {
      throw ResourceFailure(activity: "starting a thread", cause: error)
    }
  }

  private func read(for taker: any ReturnPathTaker) throws {
    var decoder = ReturnPathDecoder(
      pageCounts: session.format.pageCounts, takesKnownPages: session.known != nil)
    var encoder = session.format.encoder()
    let reader = PageReader(
      endpoint: session.endpoint, format: session.format, counters: session.counters)
    var buffer = ReceiveBuffer(byteCount: 64 << 10)
    while true {
      let count = try buffer.fill(from: session.channel)
      let arrival = ContinuousClock.now
      guard count > 0 else {
        if taker.isOver { return }
        throw ClosedEarly()
      }
      session.counters.bytesReceived.add(UInt64(count), ordering: .relaxed)
      try buffer.withReceived { bytes in
        try decoder.feed(bytes) { try taker.take($0, at: arrival) }
      }
      try taker.answer(since: arrival, reader, &encoder)
      signal.announce()
      if taker.isConfirmed { return }
    }
  }

  /// Lets the thread take the destination's last words, and ends it then.
  func endLink(after outcome: SourceOutcome?) {
    if failure.error == nil, outcome != .completed {
      // All that can be sent was; the end of the stream tells the destination, which pauses.
      try? session.channel.shutdownWrite()
    }
    let deadline = ContinuousClock.now + (session.isCancelled ? .zero : Self.lastWord)
    while true {
      let seen = signal.changeCount
      let left = deadline - ContinuousClock.now
      if left <= .zero || ended.load(ordering: .acquiring) { break }
      signal.wait(after: seen, timeout: left)
    }
    session.breakLink()
  }
}
