// One client: its session, what it has not read yet, and the two threads that read and write for
// it. A client that stands still holds up its own threads and nobody else's.

import Dispatch
import JSON
import Synchronization
import Transport

/// A client of a server.
final class QMPServerClient: Sendable {
  /// What the server does for its clients.
  struct Service: Sendable {
    /// Whether a command waits for no other client's.
    var isAnsweredAtOnce: @Sendable (QMPServerSession.Request) -> Bool
    /// Has a command carried out later, in turn.
    var enqueue: @Sendable (QMPServerClient, QMPServerSession.Request) -> Void
    /// Carries a command out at once.
    var answer: @Sendable (QMPServerClient, QMPServerSession.Request) -> JSONResult
    /// The client has gone.
    var ended: @Sendable (QMPServerClient) -> Void
  }

  typealias JSONResult = Result<JSONValue, QMPRefusal>

  private struct State {
    var session: QMPServerSession
    /// What is still to be written.
    var output: [UInt8]
    /// Bytes that the writing thread has taken and not yet written.
    var inFlightByteCount = 0
    var hasEnded = false
    /// Whether nothing more is to be done than to write what is there.
    var isClosing = false
    /// Whether the client sends nothing more; what it asked for is still answered.
    var hasReadAll = false

    var unreadByteCount: Int { output.count + inFlightByteCount }
  }

  let descriptors = QMPDescriptorNames()
  private let channel: ByteChannel
  private let limits: QMPServerLimits
  private let service: Service
  private let state: Mutex<State>
  private let mayRead = DispatchSemaphore(value: 0)
  private let mayWrite = DispatchSemaphore(value: 0)

  init(
    _ channel: ByteChannel, _ session: QMPServerSession, _ limits: QMPServerLimits,
    _ service: Service
  ) {
    self.channel = channel
    self.limits = limits
    self.service = service
    state = Mutex(State(session: session, output: session.greeting))
    mayWrite.signal()
  }

  /// Starts the two threads.
  func start() throws(TransportError) {
    _ = try NamedThread(name: "qmp-read") { self.read() }
    do throws(TransportError) {
      _ = try NamedThread(name: "qmp-write") { self.write() }
    } catch {
      end()
      throw error
    }
  }

  /// Hands the outcome of a command over.
  func finish(_ request: QMPServerSession.Request, _ outcome: JSONResult) {
    state.withLock { state in
      guard !state.hasEnded else { return }
      state.output += state.session.finish(request, outcome)
    }
    pump()
  }

  /// Sends an event, if the client takes events yet; one that has not read thousands is given up.
  func send(event line: [UInt8]) {
    let isHopeless = state.withLock { state in
      guard !state.hasEnded, state.session.isReady else { return false }
      guard state.unreadByteCount + line.count <= limits.unreadByteCount else { return true }
      state.output += line
      return false
    }
    // An event less would be a gap that nobody notices; the end is noticed.
    if isHopeless { return end() }
    mayWrite.signal()
  }

  /// Takes no more commands, and ends once everything is written.
  func close() {
    state.withLock { $0.isClosing = true }
    mayWrite.signal()
  }

  /// Ends the conversation at once.
  func end() {
    let isFirst = state.withLock { state in
      defer { state.hasEnded = true }
      return !state.hasEnded
    }
    guard isFirst else { return }
    channel.shutdownBoth()
    mayRead.signal()
    mayWrite.signal()
    service.ended(self)
  }

  /// Does whatever the session has to do, as long as the client reads its answers.
  private func pump() {
    while true {
      let request = state.withLock { state -> QMPServerSession.Request? in
        while !state.hasEnded, !state.isClosing,
          state.unreadByteCount < limits.answerByteCount,
          let action = state.session.nextAction()
        {
          switch action {
          case .send(let bytes): state.output += bytes
          case .execute(let request): return request
          }
        }
        if state.hasReadAll, state.session.isIdle { state.isClosing = true }
        return nil
      }
      guard let request else { break }
      if service.isAnsweredAtOnce(request) {
        let outcome = service.answer(self, request)
        state.withLock { $0.output += $0.session.finish(request, outcome) }
      } else {
        service.enqueue(self, request)
      }
    }
    mayWrite.signal()
    mayRead.signal()
  }

  // MARK: - Threads

  private func read() {
    while let isWanted = wantsInput() {
      guard isWanted else {
        mayRead.wait()
        continue
      }
      guard let (bytes, number) = try? channel.readWithDescriptor(atMost: 64 << 10) else { break }
      let descriptor = number.map { QMPDescriptor(OwnedDescriptor(adopting: $0)) }
      guard !bytes.isEmpty else {
        state.withLock { $0.hasReadAll = true }
        return pump()
      }
      state.withLock { $0.session.receive(bytes, descriptor: descriptor) }
      pump()
    }
    end()
  }

  /// Whether to read; nil at the end.
  private func wantsInput() -> Bool? {
    state.withLock { state in
      guard !state.hasEnded else { return nil }
      return state.session.wantsInput && state.unreadByteCount < limits.answerByteCount
        && !state.isClosing
    }
  }

  private func write() {
    while true {
      mayWrite.wait()
      let (bytes, isOver) = state.withLock { state -> ([UInt8], Bool) in
        guard !state.hasEnded else { return ([], true) }
        defer { state.output = [] }
        state.inFlightByteCount = state.output.count
        return (state.output, state.output.isEmpty && state.isClosing)
      }
      if isOver { break }
      guard !bytes.isEmpty else { continue }
      guard (try? channel.write(bytes)) != nil else { break }
      state.withLock { $0.inFlightByteCount = 0 }
      pump()
    }
    end()
  }
}
