// The second channel of a postcopy's source (`postcopy-preempt`): what the guest waits for goes
// over it, so that it waits behind nothing that nobody asked for.
//
//   waiting for the first PONG ─▶ open ─▶ watched ─▶ ended
//
// It is opened before the machine is handed over, carries nothing but records of pages, and is
// closed once the destination has confirmed the end. Its loss is the link's.

internal import MigrationCore
internal import Synchronization
public import Transport
internal import Wire

/// The connection over which a source answers requests.
final class PreemptLink: Sendable {
  private struct State {
    var channel: ByteChannel?
    var watcher: NamedThread?
    /// Whether the destination has said anything: then its main connection is up.
    var isAnswered = false
    var isEnded = false
  }

  private let opening: PreemptOpening
  private let state = Mutex(State())
  private let signal = Signal()
  /// What the next record on this channel depends on; held by the thread that writes.
  private let encoder: Mutex<StreamEncoder>

  /// How long a destination may take to answer the first PING.
  private static let patience: Duration = .seconds(30)

  init(_ opening: @escaping PreemptOpening, _ encoder: StreamEncoder) {
    self.opening = opening
    self.encoder = Mutex(encoder)
  }

  /// The destination has answered: its main connection is up.
  func noteAnswer() {
    state.withLock { $0.isAnswered = true }
    signal.announce()
  }

  /// Opens the connection, unless it is open.
  ///
  /// - Parameter afterAnswer: whether the destination has to have answered a PING before. One that
  ///   tells its connections apart by their order may take this one for the first otherwise.
  func connect(afterAnswer: Bool) throws {
    if state.withLock({ $0.channel != nil }) { return }
    do {
      if afterAnswer { try awaitAnswer() }
      let channel = try opening()
      let isEnded = state.withLock { state in
        state.channel = channel
        return state.isEnded
      }
      if isEnded { channel.shutdownBoth() }
    } catch {
      throw PreemptFailure(cause: error)
    }
  }

  private func awaitAnswer() throws(TransportError) {
    let action = "Waiting for the destination's first answer"
    let deadline = ContinuousClock.now + Self.patience
    while true {
      let seen = signal.changeCount
      let (isAnswered, isEnded) = state.withLock { ($0.isAnswered, $0.isEnded) }
      if isEnded { throw .cancelled(action: action) }
      if isAnswered { return }
      let left = deadline - ContinuousClock.now
      guard left > .zero else { throw .timedOut(action: action, after: Self.patience) }
      signal.wait(after: seen, timeout: left)
    }
  }

  /// Has somebody told when the destination ends the connection, on a thread of this object's own.
  func watch(_ onEnd: @escaping @Sendable (PreemptChannelLost) -> Void) throws {
    guard let channel = state.withLock({ $0.watcher == nil ? $0.channel : nil }) else { return }
    do {
      let watcher = try NamedThread(name: "godwit-preempt") {
        do throws(TransportError) {
          // The destination says nothing here.
          let bytes = try channel.read(atMost: 16)
          onEnd(PreemptChannelLost(cause: nil, spoke: !bytes.isEmpty))
        } catch {
          onEnd(PreemptChannelLost(cause: error, spoke: false))
        }
      }
      state.withLock { $0.watcher = watcher }
    } catch {
      throw ResourceFailure(activity: "starting a thread", cause: error)
    }
  }

  /// Writes what somebody waits for until there is nothing more.
  ///
  /// - Parameters:
  ///   - mayWait: whether to wait for another thread that writes; it writes what there is anyway.
  ///   - next: appends some records; false where there are none left.
  ///   - written: told of what was written after each of them.
  func write(
    mayWait: Bool, _ next: (inout StreamEncoder) throws -> Bool, written: (Int) -> Void
  ) throws {
    guard let channel = state.withLock({ $0.channel }) else { return }
    func writeAll(_ encoder: inout StreamEncoder) throws {
      while try next(&encoder) {
        guard !encoder.buffer.isEmpty else { continue }
        do throws(TransportError) {
          try channel.write(encoder.buffer)
        } catch {
          throw PreemptChannelLost(cause: error, spoke: false)
        }
        written(encoder.buffer.count)
        encoder.buffer.removeAll(keepingCapacity: true)
      }
    }
    if mayWait {
      try encoder.withLock { try writeAll(&$0) }
    } else {
      _ = try encoder.withLockIfAvailable { try writeAll(&$0) }
    }
  }

  /// Ends the connection, or the wait for it, from any thread.
  func end() {
    let channel = state.withLock { state in
      state.isEnded = true
      return state.channel
    }
    channel?.shutdownBoth()
    signal.announce()
  }

  /// Ends it, and waits for its thread.
  func finish() {
    end()
    state.withLock { $0.watcher.take() }?.join()
  }
}

/// Opens a second connection to where the first one leads.
public typealias PreemptOpening = @Sendable () throws -> ByteChannel

/// The second connection could not be made.
struct PreemptFailure: Error {
  let cause: any Error
}

/// The second connection is gone.
struct PreemptChannelLost: Error, CustomStringConvertible {
  let cause: (any Error)?
  /// Whether the other end said something where there is nothing to say.
  let spoke: Bool

  var description: String {
    let what = "the channel of requested pages (postcopy-preempt) "
    if spoke { return what + "brought bytes from the destination, which has nothing to say there" }
    return what + (cause.map { "broke: \($0)" } ?? "was closed by the other end")
  }
}
