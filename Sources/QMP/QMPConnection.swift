// What a client and its reading thread share. The one place where tasks and a blocking thread meet.

import JSON
import Synchronization
import Transport

/// The shared state of a client and its thread.
///
/// Holds no reference to the client, so that the client's end can end the thread.
final class QMPConnection: Sendable {
  /// What came of a command.
  typealias Outcome = Result<JSONValue, QMPError>

  /// The most commands without an answer; beyond it QEMU is taken to hang.
  static let outstandingLimit = 64
  /// What a connection that is being made is called in errors.
  private static let connecting = "qmp_capabilities"
  /// The most events that a subscriber may leave unread.
  static let eventLimit = 4096

  let address: String
  private let state = Mutex(State())

  private struct State {
    var session = QMPSession(firstIdentifier: QMPConnection.randomIdentifier())
    var channel: ByteChannel?
    var waiters: [UInt64: Waiter] = [:]
    var subscribers: [UInt64: AsyncStream<QMPEvent>.Continuation] = [:]
    var nextSubscriber: UInt64 = 0
    var end: End?
    var staysOpen = false
  }

  private struct Waiter {
    let command: String
    let isOutOfBand: Bool
    let continuation: CheckedContinuation<Outcome, Never>
  }

  /// Why a connection is over.
  enum End { case closedHere, closedByPeer, broken(QMPError) }

  init(address: String) { self.address = address }

  /// Where a client's numbers begin; the counts of two clients never meet.
  private static func randomIdentifier() -> UInt64 { UInt64.random(in: 1..<(1 << 30)) << 32 }

  var isOpen: Bool { state.withLock { $0.end == nil } }

  // MARK: - Commands

  func execute(
    _ command: String, _ arguments: JSONValue, passing descriptor: Int32?, _ timeout: Duration?,
    outOfBand: Bool = false
  ) async -> Outcome {
    let ticket = CommandTicket()
    let timer = timeout.map { timeout in
      Task { [weak self] in
        guard (try? await Task.sleep(for: timeout)) != nil else { return }
        self?.giveUp(ticket, .timedOut(command: command, after: timeout))
      }
    }
    defer { timer?.cancel() }
    return await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let waiter = Waiter(
          command: command, isOutOfBand: outOfBand, continuation: continuation)
        guard let number = send(waiter, arguments, passing: descriptor) else { return }
        if let error = ticket.sent(number) { abandon(number, error) }
      }
    } onCancel: {
      giveUp(ticket, .cancelled(command: command))
    }
  }

  /// Sends a command; where that fails, its waiter is told at once and nil returned.
  private func send(
    _ waiter: Waiter, _ arguments: JSONValue, passing descriptor: Int32?
  ) -> UInt64? {
    let outcome = state.withLock { state -> Result<UInt64, QMPError> in
      if let end = state.end { return .failure(error(for: end, waiter.command)) }
      guard let channel = state.channel,
        state.session.outstandingCount < Self.outstandingLimit
      else { return .failure(.stalled(command: waiter.command, address: address)) }
      let (number, bytes) = state.session.command(
        waiter.command, arguments, outOfBand: waiter.isOutOfBand)
      state.waiters[number] = waiter
      do throws(TransportError) {
        if let descriptor {
          try channel.write(bytes, passing: descriptor)
        } else {
          try channel.write(bytes)
        }
        return .success(number)
      } catch {
        state.waiters[number] = nil
        if case .peerGone = error {
          return .failure(.connectionLost(command: waiter.command, address: address))
        }
        return .failure(.transport(error))
      }
    }
    switch outcome {
    case .success(let number): return number
    case .failure(let error):
      waiter.continuation.resume(returning: .failure(error))
      return nil
    }
  }

  private func giveUp(_ ticket: CommandTicket, _ error: QMPError) {
    if let number = ticket.givenUp(error) { abandon(number, error) }
  }

  /// Stops waiting for an answer; the session still expects it and will drop it.
  private func abandon(_ number: UInt64, _ error: QMPError) {
    let waiter = state.withLock { $0.waiters.removeValue(forKey: number) }
    waiter?.continuation.resume(returning: .failure(error))
  }

  private func error(for end: End, _ command: String) -> QMPError {
    switch end {
    case .closedHere: .closed(command: command)
    case .closedByPeer: .connectionLost(command: command, address: address)
    case .broken(let error): error
    }
  }

  // MARK: - Events

  func subscribe() -> AsyncStream<QMPEvent> {
    let (stream, continuation) = AsyncStream.makeStream(
      of: QMPEvent.self, bufferingPolicy: .bufferingOldest(Self.eventLimit))
    let number = state.withLock { state -> UInt64? in
      guard state.end == nil else { return nil }
      let number = state.nextSubscriber
      state.nextSubscriber += 1
      state.subscribers[number] = continuation
      return number
    }
    guard let number else {
      continuation.finish()
      return stream
    }
    continuation.onTermination = { [weak self] _ in
      self?.state.withLock { _ = $0.subscribers.removeValue(forKey: number) }
    }
    return stream
  }

  private func publish(_ message: QMPEvent.Message, _ arrival: ContinuousClock.Instant) {
    let subscribers = state.withLock { Array($0.subscribers.values) }
    for subscriber in subscribers {
      // One event less would be a gap that nobody notices; the end of the stream is noticed.
      if case .dropped = subscriber.yield(QMPEvent(message: message, arrival: arrival)) {
        subscriber.finish()
      }
    }
  }

  // MARK: - The end

  /// The process at the other end, where the monitor is a Unix socket of this host.
  var peerProcess: Int32? { state.withLock { $0.channel?.peerProcess } }

  func close() {
    finish(.closedHere)
  }

  /// Whether commands can overtake others.
  var takesOutOfBand: Bool { state.withLock { $0.session.takesOutOfBand } }

  /// Lets the conversation outlive this connection, which another process has a duplicate of.
  func leaveOpen() { state.withLock { $0.staysOpen = true } }

  /// A second descriptor for the connection, for another process to keep.
  func duplicateDescriptor() throws(TransportError) -> OwnedDescriptor? {
    let channel = state.withLock { $0.channel }
    return try channel?.duplicateDescriptor()
  }

  private func finish(_ end: End) {
    let (channel, waiters, subscribers) = state.withLock { state in
      if state.end == nil { state.end = end }
      defer {
        state.channel = nil
        state.waiters = [:]
        state.subscribers = [:]
      }
      // Shutting a socket down would end it for its duplicate too.
      let ended = state.staysOpen ? nil : state.channel
      return (ended, state.waiters, state.subscribers)
    }
    channel?.shutdownBoth()
    for waiter in waiters.values {
      waiter.continuation.resume(returning: .failure(error(for: end, waiter.command)))
    }
    for subscriber in subscribers.values { subscriber.finish() }
  }
}

/// Whether a command was sent, given up, or both, in either order: on a busy machine its time can
/// be over, or its task cancelled, before it is on its way.
private final class CommandTicket: Sendable {
  private enum State { case unsent, sent(UInt64), givenUp(QMPError) }

  private let state = Mutex(State.unsent)

  /// Notes that the command was sent; answers why it was given up before.
  func sent(_ number: UInt64) -> QMPError? {
    state.withLock { state in
      if case .givenUp(let error) = state { return error }
      state = .sent(number)
      return nil
    }
  }

  /// Notes that nobody waits any longer; answers the command's number if it was sent before.
  func givenUp(_ error: QMPError) -> UInt64? {
    state.withLock { state in
      switch state {
      case .sent(let number): return number
      case .unsent:
        state = .givenUp(error)
        return nil
      case .givenUp: return nil
      }
    }
  }
}

// MARK: - The reading thread

extension QMPConnection {
  /// What came of a connection's start.
  typealias Started = Result<QMPGreeting, QMPError>

  /// Starts the thread that connects, negotiates, and reads until the end.
  func start(
    _ target: MigrationURI, _ timeout: Duration, _ started: @escaping @Sendable (Started) -> Void
  ) {
    do throws(TransportError) {
      _ = try NamedThread(name: "qmp") { self.run(target, timeout, started) }
    } catch {
      started(.failure(.transport(error)))
    }
  }

  /// Starts the thread that reads a conversation taken over from another process.
  func start(
    takingOver channel: ByteChannel, _ greeting: QMPGreeting
  ) throws(TransportError) {
    state.withLock {
      $0.session = QMPSession(
        takingOver: greeting, firstIdentifier: Self.randomIdentifier())
      $0.channel = channel
    }
    _ = try NamedThread(name: "qmp") { self.readUntilEnd(channel) }
  }

  private func run(
    _ target: MigrationURI, _ timeout: Duration, _ started: @Sendable (Started) -> Void
  ) {
    let deadline = ContinuousClock.now + timeout
    let channel: ByteChannel
    do throws(QMPError) {
      channel = try open(target, timeout)
      started(.success(try negotiate(channel, deadline, timeout)))
    } catch {
      // Whoever closed the connection meanwhile has the first word on why it is over.
      finish(.broken(error))
      started(
        .failure(state.withLock { $0.end.map { self.error(for: $0, Self.connecting) } } ?? error))
      return
    }
    readUntilEnd(channel)
  }

  private func readUntilEnd(_ channel: ByteChannel) {
    do throws(QMPError) {
      while true {
        guard try receive(from: channel) != nil else { return finish(.closedByPeer) }
      }
    } catch {
      finish(.broken(error))
    }
  }

  private func open(_ target: MigrationURI, _ timeout: Duration) throws(QMPError) -> ByteChannel {
    let channel: ByteChannel
    do throws(TransportError) {
      channel = try ByteChannel.connect(to: target, timeout: timeout)
    } catch {
      throw .transport(error)
    }
    let isWanted = state.withLock { state in
      guard state.end == nil else { return false }
      state.channel = channel
      return true
    }
    guard isWanted else { throw .closed(command: Self.connecting) }
    return channel
  }

  private func negotiate(
    _ channel: ByteChannel, _ deadline: ContinuousClock.Instant, _ timeout: Duration
  ) throws(QMPError) -> QMPGreeting {
    do throws(QMPError) {
      while true {
        guard try wait(channel, until: deadline) else {
          let hasPartialMessage = state.withLock { $0.session.hasPartialMessage }
          if hasPartialMessage {
            throw .notQMP(address: address, found: "a message that never ends")
          }
          throw .noGreeting(address: address, after: timeout)
        }
        guard let actions = try receive(from: channel) else {
          throw .notQMP(address: address, found: "the end of the connection")
        }
        for case .ready(let greeting) in actions { return greeting }
      }
    } catch {
      // Whatever breaks the protocol before it was agreed on has never spoken it.
      guard case .violation(let address, let violation) = error else { throw error }
      throw .notQMP(address: address, found: "something else: \(violation)")
    }
  }

  private func wait(
    _ channel: ByteChannel, until deadline: ContinuousClock.Instant
  ) throws(QMPError) -> Bool {
    do throws(TransportError) {
      return try channel.waitForBytes(until: deadline)
    } catch {
      throw .transport(error)
    }
  }

  /// Reads once and does what follows from it; nil at the end of the stream.
  private func receive(from channel: ByteChannel) throws(QMPError) -> [QMPSession.Action]? {
    let bytes: [UInt8]
    do throws(TransportError) {
      bytes = try channel.read(atMost: 64 << 10)
    } catch {
      if case .peerGone = error { return nil }
      throw .transport(error)
    }
    let arrival = ContinuousClock.now
    guard !bytes.isEmpty else { return nil }
    let actions = state.withLock { $0.session.receive(bytes) }
    for action in actions { try perform(action, on: channel, arrival) }
    return actions
  }

  private func perform(
    _ action: QMPSession.Action, on channel: ByteChannel, _ arrival: ContinuousClock.Instant
  ) throws(QMPError) {
    switch action {
    case .ready: break
    case .breakOff(let violation): throw .violation(address: address, violation)
    case .send(let bytes):
      do throws(TransportError) {
        try channel.write(bytes)
      } catch {
        throw .transport(error)
      }
    case .event(let message): publish(message, arrival)
    case .reply(let number, let reply):
      let waiter = state.withLock { $0.waiters.removeValue(forKey: number) }
      guard let waiter else { return }
      switch reply {
      case .returned(let value): waiter.continuation.resume(returning: .success(value))
      case .refused(let kind, let description):
        let error = QMPError.refused(
          command: waiter.command, class: kind, description: description)
        waiter.continuation.resume(returning: .failure(error))
      }
    }
  }
}
