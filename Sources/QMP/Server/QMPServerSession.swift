// The server's side of QMP as a state machine: bytes in, actions out; no socket, clock or thread.
//
//   negotiating --qmp_capabilities--> ready
//
// Answers go out in the order of the commands, except those of commands sent out of band, which
// overtake. One command of a client is carried out at a time. What was read beyond that waits,
// unread in the kernel at last: a client that sends faster than it is served slows itself down.

public import JSON

/// A server's half of a QMP conversation.
public struct QMPServerSession: Sendable {
  /// What the owner of a session is to do.
  public enum Action: Sendable {
    /// Send these bytes.
    case send([UInt8])
    /// Carry this out, and hand the outcome to ``finish(_:_:)``.
    case execute(Request)
  }

  /// A command to be carried out.
  public struct Request: Sendable {
    /// Its name.
    public let name: String
    /// Its arguments, unchecked; an object.
    public let arguments: JSONValue
    /// What comes back with the answer.
    public let id: JSONValue?
    /// Whether it is carried out beside the others, at once.
    public let isOutOfBand: Bool
    /// The descriptor that travelled with it.
    public let descriptor: QMPDescriptor?
  }

  private enum Queued {
    case request(Request)
    case refusal(QMPRefusal, id: JSONValue?)
  }

  private let greetingBytes: [UInt8]
  private let takesDescriptor: Set<String>
  private let limits: QMPServerLimits
  private var framer: QMPCommandFramer
  private var input: ArraySlice<UInt8> = []
  private var queue: [Queued] = []
  private var isBusy = false
  private var hasOutOfBand = false
  private var passed: QMPDescriptor?

  /// Whether the client has negotiated; before that it takes no event and no other command.
  public private(set) var isReady = false

  /// A session before its first byte.
  /// - Parameters:
  ///   - version: what the greeting says.
  ///   - takesDescriptor: the commands that a descriptor travels with.
  ///   - limits: bounds on the client.
  public init(
    version: QEMUVersion, takesDescriptor: Set<String> = [],
    limits: QMPServerLimits = QMPServerLimits()
  ) {
    greetingBytes =
      QMPMessage.greeting(
        QMPGreeting(version: version, capabilities: ["oob"])
      ).line
    self.takesDescriptor = takesDescriptor
    self.limits = limits
    framer = QMPCommandFramer(limits: limits)
  }

  /// The first thing to send.
  public var greeting: [UInt8] { greetingBytes }

  /// Whether more bytes should be read: what came before has been looked at.
  public var wantsInput: Bool { input.isEmpty && queue.count < limits.queuedRequestCount }

  /// Whether nothing is under way and nothing waits.
  public var isIdle: Bool { !isBusy && queue.isEmpty && input.isEmpty }

  /// Bytes held back: of an unfinished message, and unread ones.
  public var heldByteCount: Int { framer.pendingByteCount + input.count }

  /// Takes bytes from the client in, split anywhere.
  /// - Parameters:
  ///   - bytes: what has arrived.
  ///   - descriptor: what came with them; one that no command takes is closed by the next.
  public mutating func receive(_ bytes: [UInt8], descriptor: QMPDescriptor? = nil) {
    if input.isEmpty { input = bytes[...] } else { input += bytes }
    if let descriptor { passed = descriptor }
  }

  /// What is to be done next; nil until more arrives or a command is finished.
  public mutating func nextAction() -> Action? {
    while true {
      if !isBusy, !queue.isEmpty {
        switch queue.removeFirst() {
        case .request(let request):
          isBusy = true
          return .execute(request)
        case .refusal(let refusal, let id): return .send(refusal.message(id: id).line)
        }
      }
      // Without out-of-band commands nothing can overtake, so nothing is looked at ahead of time.
      guard queue.count < (hasOutOfBand ? limits.queuedRequestCount : 1),
        let item = framer.next(&input)
      else { return nil }
      if let action = take(item) { return action }
    }
  }

  /// Ends a command that was carried out.
  /// - Returns: the answer's bytes.
  public mutating func finish(
    _ request: Request, _ outcome: Result<JSONValue, QMPRefusal>
  ) -> [UInt8] {
    if !request.isOutOfBand { isBusy = false }
    switch outcome {
    case .success(let value): return QMPMessage.returned(id: request.id, value).line
    case .failure(let refusal): return refusal.message(id: request.id).line
    }
  }

  // MARK: - Messages

  /// Queues what a message asks for; an action where it is due at once.
  private mutating func take(_ item: QMPCommandFramer.Item) -> Action? {
    let value: JSONValue
    switch item {
    case .value(let read): value = read
    case .rubbish(let refusal):
      queue.append(.refusal(refusal, id: nil))
      return nil
    }
    let request: Request
    do throws(QMPRefusal) {
      request = try self.request(value)
    } catch {
      queue.append(.refusal(error, id: value["id"]))
      return nil
    }
    guard isReady, request.name != "qmp_capabilities" else {
      return negotiate(request)
    }
    if request.isOutOfBand { return .execute(request) }
    queue.append(.request(request))
    return nil
  }

  private mutating func negotiate(_ request: Request) -> Action {
    do throws(QMPRefusal) {
      guard request.name == "qmp_capabilities" else {
        throw QMPRefusal(
          "Expecting capabilities negotiation with 'qmp_capabilities'", .commandNotFound)
      }
      guard !isReady else {
        throw QMPRefusal(
          "Capabilities negotiation is already complete, command ignored", .commandNotFound)
      }
      try QMPSchemaWriter.capabilities.check(request.arguments)
      hasOutOfBand = !(request.arguments["enable"]?.array ?? []).isEmpty
      isReady = true
      return .send(QMPMessage.returned(id: request.id, [:]).line)
    } catch {
      return .send(error.message(id: request.id).line)
    }
  }

  /// Reads a message as a command, with QEMU's objections.
  private mutating func request(_ value: JSONValue) throws(QMPRefusal) -> Request {
    guard let members = value.members else {
      throw QMPRefusal("QMP input must be a JSON object")
    }
    var name: String?
    var isOutOfBand = false
    for member in members {
      switch member.name {
      case "execute", "exec-oob":
        let isMarked = member.name == "exec-oob"
        guard !isMarked || hasOutOfBand else {
          throw QMPRefusal("QMP input member 'exec-oob' is unexpected")
        }
        guard let text = member.value.string else {
          throw QMPRefusal("QMP input member '\(member.name)' must be a string")
        }
        guard name == nil else {
          throw QMPRefusal("QMP input member 'execute' clashes with 'exec-oob'")
        }
        name = text
        isOutOfBand = isMarked
      case "arguments":
        guard member.value.members != nil else {
          throw QMPRefusal("QMP input member 'arguments' must be an object")
        }
      case "id": break
      default: throw QMPRefusal("QMP input member '\(member.name)' is unexpected")
      }
    }
    guard let name else { throw QMPRefusal("QMP input lacks member 'execute'") }
    let descriptor = takesDescriptor.contains(name) ? passed : nil
    if descriptor != nil { passed = nil }
    return Request(
      name: name, arguments: value["arguments"] ?? [:], id: value["id"], isOutOfBand: isOutOfBand,
      descriptor: descriptor)
  }
}
