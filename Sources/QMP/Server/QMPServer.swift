// A QMP server on sockets: several clients, one table, one host.

import Dispatch
public import JSON
import Synchronization
public import Transport

/// Serves a host's commands, on Unix and TCP sockets, to several clients at a time.
///
/// Each client is read and written by threads of its own; commands are carried out on one thread
/// for all of them, those sent out of band and those that only look excepted. A client may send
/// what it likes and read as slowly as it likes: it delays nobody else, and holds no more memory
/// than ``QMPServerLimits`` allows. The server works until ``stop(within:)``.
public final class QMPServer<Host: QMPHost>: Sendable {
  private struct State {
    var listeners: [Listener] = []
    var clients: [QMPServerClient] = []
    var throttle = QMPEventThrottle()
    var isStopped = false
  }

  private let table: QMPCommandTable<Host>
  private let host: Host
  private let limits: QMPServerLimits
  private let intervals: [String: Duration]
  private let takesDescriptor: Set<String>
  private let onlyLook: Set<String>
  private let state = Mutex(State())
  private let places: QMPClientPlaces
  private let commands = QMPCommandThread()

  /// A server without sockets; ``listen(at:allowInsecure:)`` adds them.
  /// - Parameters:
  ///   - table: what it offers.
  ///   - host: what that is for.
  ///   - limits: bounds on its clients.
  public init(
    _ table: QMPCommandTable<Host>, for host: Host, limits: QMPServerLimits = QMPServerLimits()
  ) throws(TransportError) {
    self.table = table
    self.host = host
    self.limits = limits
    takesDescriptor = Set(table.commands.filter(\.takesDescriptor).map(\.name))
    onlyLook = Set(table.commands.filter(\.onlyLooks).map(\.name))
    intervals = Dictionary(
      uniqueKeysWithValues: table.events.compactMap { event in
        event.interval.map { (event.name, $0) }
      })
    places = QMPClientPlaces(limits.clientCount)
    try commands.start { [weak self] in self?.sendHeldEvents() }
  }

  deinit { stop(within: .zero) }

  /// Listens at an address.
  /// - Parameters:
  ///   - address: `unix:` or `tcp:`; port 0 takes any free one.
  ///   - allowInsecure: whether other machines may reach it.
  /// - Returns: the address with the real port.
  /// - Throws: ``TransportError``
  @discardableResult
  public func listen(
    at address: MigrationURI, allowInsecure: Bool = false
  ) throws(TransportError) -> MigrationURI {
    let listener = try Listener(address, allowInsecure: allowInsecure)
    let isStopped = state.withLock { state in
      if !state.isStopped { state.listeners.append(listener) }
      return state.isStopped
    }
    guard !isStopped else { return listener.address }
    _ = try NamedThread(name: "qmp-accept") { [weak self, places] in
      while places.take(), let channel = Self.nextConnection(to: listener), let self {
        self.serve(channel, at: places)
      }
    }
    return listener.address
  }

  /// Waits for a client; nil once the listener is cancelled.
  private static func nextConnection(to listener: Listener) -> ByteChannel? {
    while true {
      do throws(TransportError) {
        return try listener.accept()
      } catch {
        if case .cancelled = error { return nil }
        // The process has no descriptor left, say, and may have some soon.
        _ = DispatchSemaphore(value: 0).wait(timeout: .now() + .milliseconds(100))
      }
    }
  }

  /// Serves a client whose connection exists already.
  public func serve(_ channel: ByteChannel) { serve(channel, at: nil) }

  private func serve(_ channel: ByteChannel, at places: QMPClientPlaces?) {
    let session = QMPServerSession(
      version: table.version, takesDescriptor: takesDescriptor, limits: limits)
    let service = QMPServerClient.Service(
      isAnsweredAtOnce: { [onlyLook] in $0.isOutOfBand || onlyLook.contains($0.name) },
      enqueue: { [weak self] client, request in self?.enqueue(client, request) },
      answer: { [weak self] client, request in
        self?.answer(client, request) ?? .failure(QMPRefusal("The server has ended"))
      },
      ended: { [weak self] client in
        self?.forget(client)
        places?.giveBack()
      })
    let client = QMPServerClient(channel, session, limits, service)
    let isWanted = state.withLock { state in
      if !state.isStopped { state.clients.append(client) }
      return !state.isStopped
    }
    guard isWanted, (try? client.start()) != nil else { return client.end() }
  }

  /// Reports an event to every client that has negotiated; any thread.
  /// - Parameters:
  ///   - event: its name, which stands in the table.
  ///   - data: what it says; an object.
  public func report(_ event: String, _ data: JSONValue = [:]) {
    if let interval = intervals[event] {
      let passes = state.withLock {
        $0.throttle.pass(event, data, every: interval, at: .now)
      }
      guard passes else { return commands.wake() }
    }
    send(event, data)
  }

  /// How many clients there are.
  public var clientCount: Int { state.withLock { $0.clients.count } }

  /// Ends the server: what is being carried out is finished and answered, then all connections
  /// are closed.
  /// - Parameter limit: how long commands may take to end, and clients to read, each.
  public func stop(within limit: Duration = .seconds(1)) {
    let listeners = state.withLock { state in
      defer { state.listeners = [] }
      state.isStopped = true
      return state.listeners
    }
    // Closed rather than cancelled: the socket's file must not wait for whoever holds it last.
    for listener in listeners { listener.close() }
    places.close(waiterCount: listeners.count)
    commands.end(within: limit)
    let clients = state.withLock { $0.clients }
    for client in clients { client.close() }
    let deadline = ContinuousClock.now + limit
    let moment = DispatchSemaphore(value: 0)
    while clientCount > 0, ContinuousClock.now < deadline {
      _ = moment.wait(timeout: .now() + .milliseconds(2))
    }
    for client in state.withLock({ $0.clients }) { client.end() }
  }

  // MARK: - Commands

  private func enqueue(_ client: QMPServerClient, _ request: QMPServerSession.Request) {
    commands.enqueue { [weak self] in
      guard let self else { return }
      client.finish(request, answer(client, request))
    }
  }

  private func answer(
    _ client: QMPServerClient, _ request: QMPServerSession.Request
  ) -> Result<JSONValue, QMPRefusal> {
    let call = QMPCall(
      command: request.name, arguments: request.arguments, descriptors: client.descriptors,
      descriptor: request.descriptor)
    do throws(QMPRefusal) {
      return .success(try table.answer(call, for: host, isOutOfBand: request.isOutOfBand))
    } catch {
      return .failure(error)
    }
  }

  private func forget(_ client: QMPServerClient) {
    state.withLock { $0.clients.removeAll { $0 === client } }
  }

  // MARK: - Events

  private func send(_ event: String, _ data: JSONValue) {
    let message = QMPMessage.event(
      QMPEvent.Message(name: event, data: data, timestamp: .now()))
    let line = message.line
    for client in state.withLock({ $0.clients }) { client.send(event: line) }
  }

  /// Sends the events whose time has come, and tells when the next one's does.
  private func sendHeldEvents() -> ContinuousClock.Instant? {
    while true {
      let due = state.withLock { state in
        state.throttle.takeDue(at: .now) { intervals[$0] ?? .zero }
      }
      guard let due else { return state.withLock { $0.throttle.nextDue } }
      send(due.event, due.data)
    }
  }
}
