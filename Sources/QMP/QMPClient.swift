// A connection to one QEMU's monitor, for the control plane: async, with a thread of its own to
// read, so that no task is blocked.

public import JSON
public import Transport

/// A connection to a QEMU's monitor.
///
/// Any number of tasks may use one client. The connection ends with ``close()``, or when the last
/// reference is gone.
public final class QMPClient: Sendable {
  /// The address this client is connected to, as it was given.
  public let address: String
  /// The QEMU at the other end, from its greeting.
  public let version: QEMUVersion
  /// Whether descriptors can be passed with commands: a Unix socket's privilege.
  public let canPassDescriptors: Bool
  /// Whether the socket connected to only leads to the monitor, which is on another host.
  public let isForwarded: Bool
  private let connection: QMPConnection

  private init(
    address: String, target: MigrationURI, isForwarded: Bool, greeting: QMPGreeting,
    connection: QMPConnection
  ) {
    self.address = address
    self.isForwarded = isForwarded
    if case .tcp = target { canPassDescriptors = false } else { canPassDescriptors = !isForwarded }
    self.version = greeting.version
    self.connection = connection
  }

  deinit { connection.close() }

  /// Connects to a monitor and negotiates.
  /// - Parameters:
  ///   - address: the path of a Unix socket, `HOST:PORT`, or one of QEMU's notations `unix:PATH`,
  ///     `tcp:HOST:PORT` and `fd:N`.
  ///   - timeout: how long connection, greeting and negotiation may take together.
  /// - Throws: ``QMPError``; `closed` where the task was cancelled meanwhile.
  public static func connect(
    to address: String, timeout: Duration = .seconds(5)
  ) async throws(QMPError) -> QMPClient {
    try await connect(MonitorAddress.parse(address), address, isForwarded: false, timeout)
  }

  /// Connects to a monitor of another host and negotiates.
  /// - Parameters:
  ///   - path: a Unix socket here that leads to it.
  ///   - address: what messages call it.
  ///   - timeout: how long connection, greeting and negotiation may take together.
  /// - Throws: as ``connect(to:timeout:)``.
  public static func connect(
    through path: String, to address: String, timeout: Duration = .seconds(10)
  ) async throws(QMPError) -> QMPClient {
    try await connect(.unix(path: path), address, isForwarded: true, timeout)
  }

  private static func connect(
    _ target: MigrationURI, _ address: String, isForwarded: Bool, _ timeout: Duration
  ) async throws(QMPError) -> QMPClient {
    let connection = QMPConnection(address: address)
    let outcome = await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        connection.start(target, timeout) { continuation.resume(returning: $0) }
      }
    } onCancel: {
      connection.close()
    }
    return QMPClient(
      address: address, target: target, isForwarded: isForwarded, greeting: try outcome.get(),
      connection: connection)
  }

  /// Has a command carried out.
  /// - Parameters:
  ///   - command: its name, such as `query-status`.
  ///   - arguments: an object, or `null` for none.
  ///   - descriptor: travels with the command (Unix sockets only) and stays open here.
  ///   - timeout: how long the answer may take; nil waits as long as QEMU lives.
  /// - Returns: what QEMU answers.
  /// - Throws: ``QMPError``; ``QMPError/refused(command:class:description:)`` has QEMU's words.
  @discardableResult
  public func execute(
    _ command: String, _ arguments: JSONValue = .null, passing descriptor: Int32? = nil,
    timeout: Duration? = nil
  ) async throws(QMPError) -> JSONValue {
    try await connection.execute(command, arguments, passing: descriptor, timeout).get()
  }

  /// Everything that QEMU reports from this call on.
  ///
  /// Every subscriber gets every event. One that leaves 4096 events unread has its stream ended
  /// rather than a gap in it; streams also end with the connection.
  public func events() -> AsyncStream<QMPEvent> { connection.subscribe() }

  /// Sends a command that overtakes all others and is carried out even while QEMU's main loop
  /// stands still; QEMU takes few commands so (`migrate-recover`, `migrate-pause`).
  ///
  /// Where the monitor does not offer it, the command goes the ordinary way.
  @discardableResult
  public func executeOutOfBand(
    _ command: String, _ arguments: JSONValue = .null, timeout: Duration? = nil
  ) async throws(QMPError) -> JSONValue {
    try await connection.execute(
      command, arguments, passing: nil, timeout, outOfBand: connection.takesOutOfBand
    ).get()
  }

  /// A second descriptor for the connection, which keeps it open after this client is gone.
  public func duplicateDescriptor() throws(TransportError) -> OwnedDescriptor? {
    try connection.duplicateDescriptor()
  }

  /// Leaves the connection open for the process that has the duplicate: neither `close()` nor this
  /// client's end will end the conversation.
  public func leaveOpen() { connection.leaveOpen() }

  /// Goes on with a conversation that another client, now gone, had negotiated.
  /// - Parameters:
  ///   - descriptor: the connection.
  ///   - address: what messages call it.
  ///   - version: QEMU's version, as the other client was told.
  ///   - isForwarded: whether the connection only leads to the monitor, on another host.
  public static func takeOver(
    _ descriptor: consuming OwnedDescriptor, address: String, version: QEMUVersion,
    isForwarded: Bool = false
  ) throws(TransportError) -> QMPClient {
    let greeting = QMPGreeting(version: version, capabilities: ["oob"])
    let connection = QMPConnection(address: address)
    try connection.start(
      takingOver: ByteChannel(adopting: descriptor, peer: address), greeting)
    return QMPClient(
      address: address, target: .unix(path: address), isForwarded: isForwarded,
      greeting: greeting, connection: connection)
  }

  /// The process number of QEMU, where the monitor is a Unix socket of this host.
  public var peerProcess: Int32? { isForwarded ? nil : connection.peerProcess }

  /// Ends the connection; commands under way throw ``QMPError/closed(command:)``.
  public func close() { connection.close() }

  /// Whether the connection still stands, as far as is known here.
  public var isConnected: Bool { connection.isOpen }
}

/// How people write the address of a monitor.
enum MonitorAddress {
  static func parse(_ text: String) throws(QMPError) -> MigrationURI {
    guard !text.isEmpty else { throw .badAddress(text, reason: "it is empty") }
    let isQualified = ["unix:", "tcp:", "fd:"].contains { text.hasPrefix($0) }
    if isQualified { return try uri(text, of: text) }
    if !text.contains("/"), let colon = text.lastIndex(of: ":"),
      UInt16(text[text.index(after: colon)...]) != nil
    {
      return try uri("tcp:" + text, of: text)
    }
    return try uri("unix:" + text, of: text)
  }

  private static func uri(_ uri: String, of text: String) throws(QMPError) -> MigrationURI {
    do throws(TransportError) {
      return try MigrationURI(uri)
    } catch {
      guard case .badURI(_, let reason) = error else { throw .transport(error) }
      throw .badAddress(text, reason: reason)
    }
  }
}
