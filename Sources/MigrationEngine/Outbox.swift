// What a destination says to its source, by several threads, none of which waits until it is heard.
// One that did would keep others from saying something, the one that reads the stream among them;
// and a source that cannot get rid of its stream may read nothing either.
//
// A message goes out at once as far as the kernel has room. What there is no room for is kept, and
// written by a thread of the outbox's own, which there is from the first time on.

internal import MigrationCore
internal import Synchronization
internal import Transport

/// The messages to a source over one link, each whole, in the order in which they were given.
final class Outbox: Sendable {
  private struct State {
    /// What waits for room.
    var waiting: [UInt8] = []
    /// How many bytes the thread has taken and not written.
    var underWayCount = 0
    var thread: NamedThread?
    var failure: TransportError?
    var isEnded = false

    var backlog: Int { waiting.count + underWayCount }
  }

  let channel: ByteChannel
  private let counters: ProgressCounters
  private let state = Mutex(State())
  private let signal = Signal()

  /// Bytes that may wait when an answer is added: no source that follows the protocol leaves as
  /// many unread, and one that does waits for its answers.
  private static let answerBacklog = 1 << 20
  /// How long a last word is waited for to be written.
  private static let lastWord: Duration = .seconds(1)

  init(_ channel: ByteChannel, _ counters: ProgressCounters) {
    self.channel = channel
    self.counters = counters
  }

  // MARK: Sending

  /// Sends whole messages; returns at once.
  ///
  /// What is sent this way has to be bounded by what there is to be said.
  func send(_ bytes: [UInt8]) throws {
    let isKept = try state.withLock { state in
      try Self.check(state)
      let count = state.backlog == 0 ? try channel.writeAtOnce(bytes) : 0
      counters.bytesSent.add(UInt64(bytes.count), ordering: .relaxed)
      guard count < bytes.count else { return false }
      state.waiting += bytes[count...]
      guard state.thread == nil else { return true }
      do {
        state.thread = try NamedThread(name: "godwit-outbox") { [self] in write() }
      } catch {
        throw ResourceFailure(activity: "starting a thread", cause: error)
      }
      return true
    }
    if isKept { signal.announce() }
  }

  /// Sends answers to what the source said; waits first where a source leaves very many unread.
  func answer(_ bytes: [UInt8]) throws {
    try wait { $0.backlog < Self.answerBacklog }
    try send(bytes)
  }

  /// Waits until what nobody waits for may be sent: all that was given is written, and of that
  /// little is unsent where somebody may have to say something that matters more.
  ///
  /// - Parameters:
  ///   - limit: how many bytes may be unsent; nil for any number.
  ///   - isOver: ends the wait.
  func awaitCalm(unsentBelow limit: Int?, unless isOver: () -> Bool) throws {
    while !isOver() {
      let seen = signal.changeCount
      let backlog = try state.withLock { state in
        try Self.check(state)
        return state.backlog
      }
      if channel.isCancelled { throw ClosedEarly() }
      // The kernel tells nobody when a socket is emptied so far.
      if backlog == 0 {
        guard let limit, let unsent = channel.unsentByteCount(), unsent >= limit else { return }
      }
      signal.wait(after: seen, timeout: .milliseconds(backlog == 0 ? 1 : 10))
    }
  }

  private static func check(_ state: State) throws {
    if let failure = state.failure { throw failure }
    if state.isEnded { throw ClosedEarly() }
  }

  /// Waits until it is so, for as long as the link is there.
  private func wait(
    for patience: Duration? = nil, until isReached: (borrowing State) -> Bool
  ) throws {
    let deadline = patience.map { ContinuousClock.now + $0 }
    while true {
      let seen = signal.changeCount
      let isDone = try state.withLock { state in
        try Self.check(state)
        return isReached(state)
      }
      if isDone || deadline.map({ $0 <= .now }) == true { return }
      signal.wait(after: seen, timeout: deadline.map { $0 - .now } ?? .seconds(1))
    }
  }

  // MARK: The thread

  private func write() {
    while true {
      let seen = signal.changeCount
      let (bytes, isOver) = state.withLock { state -> ([UInt8], Bool) in
        let bytes = state.waiting
        state.waiting = []
        state.underWayCount = bytes.count
        return (bytes, state.isEnded || state.failure != nil)
      }
      if isOver { return }
      guard !bytes.isEmpty else {
        signal.wait(after: seen, timeout: .seconds(1))
        continue
      }
      do throws(TransportError) {
        try channel.write(bytes)
      } catch {
        state.withLock { $0.failure = error }
      }
      state.withLock { $0.underWayCount = 0 }
      signal.announce()
    }
  }

  // MARK: The end

  /// Waits until everything is written; throws where it cannot be.
  func drain() throws { try wait { $0.backlog == 0 } }

  /// Ends the link, once the last word was written or cannot be.
  func endAfterLastWord() {
    try? wait(for: Self.lastWord) { $0.backlog == 0 }
    end()
  }

  /// Ends the link at once: whoever is about to say something is told so.
  func end() {
    channel.shutdownBoth()
    finish()
  }

  /// Ends what this object does, and leaves the link as it is.
  func finish() {
    let thread = state.withLock { state in
      state.isEnded = true
      return state.thread.take()
    }
    signal.announce()
    thread?.join()
  }
}
