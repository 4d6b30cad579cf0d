// The second channel of a postcopy's destination (`postcopy-preempt`): requested pages come over
// it, read by a thread of its own beside the one that reads the stream.
//
//   waiting ─▶ there ─▶ read ─▶ ended in order: by a record, or closed with nothing owed
//                         └───▶ broken: the whole link is
//
// Whoever waits for connections hands the second one over here, whenever it comes. The stream waits
// for it where the machine is handed over, and where a recovery goes on: from there on pages come.

internal import MigrationCore
internal import Synchronization
public import Transport
internal import Wire

/// The place where the channel of requested pages of one link is handed over.
///
/// Every link has its own.
public final class PreemptReception: Sendable {
  private enum Ending {
    case inOrder
    case broken(any Error)
  }

  private struct State {
    var channel: ByteChannel?
    var thread: NamedThread?
    var ending: Ending?
    var isClosed = false
  }

  private let state = Mutex(State())
  private let signal = Signal()
  private let patience: Duration

  /// A place to which nothing was handed over.
  ///
  /// - Parameter patience: how long the stream waits for the channel where it is needed.
  public init(patience: Duration = .seconds(10)) {
    self.patience = patience
  }

  /// The connection is there; from any thread, once.
  ///
  /// One that comes too late, or is not the first, is closed.
  public func take(_ channel: ByteChannel) {
    let isWanted = state.withLock { state in
      guard !state.isClosed, state.channel == nil else { return false }
      state.channel = channel
      return true
    }
    if !isWanted { channel.shutdownBoth() }
    signal.announce()
  }

  /// Why the channel broke, where it did.
  var failure: (any Error)? {
    if case .broken(let error)? = state.withLock({ $0.ending }) { return error }
    return nil
  }

  /// Waits until the connection is there; `main` being broken off ends the wait.
  func awaitChannel(beside main: ByteChannel) throws {
    let deadline = ContinuousClock.now + patience
    while true {
      let seen = signal.changeCount
      if state.withLock({ $0.channel != nil }) { return }
      if main.isCancelled { throw ClosedEarly() }
      let left = deadline - ContinuousClock.now
      guard left > .zero else {
        throw DestinationStateMachine.Refusal(
          description: "The source has not opened the second connection, over which requested "
            + "pages come: postcopy-preempt is on here, and has to be on at both ends or off at "
            + "both.")
      }
      signal.wait(after: seen, timeout: min(left, Self.glance))
    }
  }

  /// How long a wait lasts before it is looked whether there is still something to wait for.
  private static let glance: Duration = .milliseconds(100)

  /// Reads the channel from now on; where that breaks, `main` is broken off.
  func begin(
    _ postcopy: PostcopyArrival, _ recovery: StreamDecoder.Recovery, _ counters: ProgressCounters,
    beside main: ByteChannel
  ) throws {
    guard let channel = state.withLock({ $0.channel }) else { throw ClosedEarly() }
    postcopy.expectTwoChannels()
    do {
      let thread = try NamedThread(name: "migration-preempt") { [self] in
        let ending: Ending
        do {
          try receive(over: channel, postcopy, recovery, counters)
          ending = .inOrder
        } catch {
          ending = .broken(error)
        }
        end(ending, main)
      }
      state.withLock { $0.thread = thread }
    } catch {
      throw ResourceFailure(activity: "starting a thread", cause: error)
    }
  }

  private func receive(
    over channel: ByteChannel, _ postcopy: PostcopyArrival, _ recovery: StreamDecoder.Recovery,
    _ counters: ProgressCounters
  ) throws {
    var options = StreamDecoder.Options()
    options.recovery = recovery
    options.carriesOnlyPages = true
    var decoder = StreamDecoder(options: options)
    var visitor = PreemptVisitor(
      postcopy: postcopy, counters: counters, targetPageSize: recovery.targetPageSize)
    var buffer = ReceiveBuffer(byteCount: 128 << 10)
    while true {
      let count = try buffer.fill(from: channel)
      guard count > 0 else {
        try decoder.finish(to: &visitor)
        // Sources of newer machine types close it without a word, but not before the end.
        guard decoder.isFinished || postcopy.owedCount == 0 else {
          throw PreemptChannelLost(cause: nil, spoke: false)
        }
        return
      }
      counters.bytesReceived.add(UInt64(count), ordering: .relaxed)
      try buffer.withReceived { bytes in try decoder.feed(bytes, to: &visitor) }
      // The stream may have ended already, and wait for the last of them.
      signal.announce()
    }
  }

  private func end(_ ending: Ending, _ main: ByteChannel) {
    let breaks = state.withLock { state in
      // What was closed here did not break.
      guard !state.isClosed else { return false }
      state.ending = ending
      if case .broken = ending { return true }
      return false
    }
    if breaks { main.shutdownBoth() }
    signal.announce()
  }

  /// Waits until no page is owed any more that may still come over this channel: the stream's end
  /// may overtake the last of them.
  ///
  /// Where none comes for long, none will: its source has lost count.
  func awaitOwed(_ postcopy: PostcopyArrival, beside main: ByteChannel) {
    var owed = postcopy.owedCount
    var deadline = ContinuousClock.now + patience
    while owed > 0 {
      let seen = signal.changeCount
      let isOver = state.withLock { $0.ending != nil || $0.thread == nil }
      let left = postcopy.owedCount
      if left < owed { deadline = ContinuousClock.now + patience }
      owed = left
      if isOver || main.isCancelled || ContinuousClock.now > deadline { return }
      signal.wait(after: seen, timeout: Self.glance)
    }
  }

  /// Ends the channel; nothing comes over it once this returns.
  func close() {
    let (channel, thread) = state.withLock { state in
      state.isClosed = true
      return (state.channel, state.thread.take())
    }
    channel?.shutdownBoth()
    thread?.join()
  }
}

/// Puts the pages of the second channel where they belong.
private struct PreemptVisitor: StreamVisitor {
  let postcopy: PostcopyArrival
  let counters: ProgressCounters
  let targetPageSize: Int

  func visit(_ event: StreamEvent) throws {
    throw DestinationStateMachine.Refusal(
      description: "The source sent something else than pages over the channel of requested pages.")
  }

  func visitPage(_ page: RAMPageAddress, content: RawSpan) throws {
    try postcopy.serve(page, content, over: .preempt)
    counters.normalPages.add(1, ordering: .relaxed)
  }

  func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) throws {
    if fill == 0 {
      try postcopy.serve(page, nil, over: .preempt)
    } else {
      let content = [UInt8](repeating: fill, count: targetPageSize)
      try content.withBytes { try postcopy.serve(page, $0, over: .preempt) }
    }
    counters.zeroPages.add(1, ordering: .relaxed)
  }

  func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) throws {
    throw DestinationStateMachine.Refusal(
      description: "The source sent a delta of a page to the machine that already runs.")
  }
}
