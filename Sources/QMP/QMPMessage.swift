// The messages of QMP, read from and written as JSON. Both ends use it.

public import JSON

/// One message of either side.
public enum QMPMessage: Equatable, Sendable {
  /// The server's first message.
  case greeting(QMPGreeting)
  /// A command's answer; `id` is the command's, as it was sent.
  case returned(id: JSONValue?, JSONValue)
  /// A command's refusal; `id` is the command's, as it was sent, or nil for an unreadable one.
  case failed(id: JSONValue?, class: String, description: String)
  /// Something happened.
  case event(QMPEvent.Message)
  /// The client asks for something.
  case command(QMPCommand)

  /// Recognises a message by its members.
  /// - Throws: ``QMPViolation/unknownMessage``
  public init(_ value: JSONValue) throws(QMPViolation) {
    if let body = value["QMP"], let greeting = QMPGreeting(body) {
      self = .greeting(greeting)
    } else if let result = value["return"] {
      self = .returned(id: value["id"], result)
    } else if let error = value["error"] {
      let text = error["desc"]?.string ?? "no reason was given"
      let kind = error["class"]?.string ?? "GenericError"
      self = .failed(id: value["id"], class: kind, description: text)
    } else if let name = value["event"]?.string {
      let time = value["timestamp"]
      self = .event(
        QMPEvent.Message(
          name: name, data: value["data"] ?? [:],
          timestamp: QMPEvent.Timestamp(
            seconds: time?["seconds"]?.int64 ?? -1,
            microseconds: time?["microseconds"]?.int64 ?? -1)))
    } else if let command = QMPCommand(value) {
      self = .command(command)
    } else {
      throw .unknownMessage
    }
  }

  /// The message as JSON.
  public var json: JSONValue {
    switch self {
    case .greeting(let greeting): ["QMP": greeting.json]
    case .returned(let id, let value): Self.object(["return": value], id)
    case .failed(let id, let kind, let text):
      Self.object(["error": ["class": .string(kind), "desc": .string(text)]], id)
    case .event(let event): Self.json(of: event)
    case .command(let command): command.json
    }
  }

  private static func json(of event: QMPEvent.Message) -> JSONValue {
    var members = [
      JSONMember(
        "timestamp",
        [
          "seconds": .integer(event.timestamp.seconds),
          "microseconds": .integer(event.timestamp.microseconds),
        ]), JSONMember("event", .string(event.name)),
    ]
    // An event that has nothing to say has no such member.
    if event.data != [:] { members.append(JSONMember("data", event.data)) }
    return .object(members)
  }

  /// The message as it is sent: one line.
  public var line: [UInt8] { json.bytes() + [0x0D, 0x0A] }

  private static func object(_ value: JSONValue, _ id: JSONValue?) -> JSONValue {
    guard let id, case .object(let members) = value else { return value }
    return .object(members + [JSONMember("id", id)])
  }
}

/// The server's first message.
public struct QMPGreeting: Equatable, Sendable {
  /// Which QEMU it is.
  public var version: QEMUVersion
  /// What the server can do beyond the base protocol, such as `oob`.
  public var capabilities: [String]

  /// A greeting.
  public init(version: QEMUVersion, capabilities: [String]) {
    self.version = version
    self.capabilities = capabilities
  }

  /// Reads the value of the member `QMP`.
  init?(_ body: JSONValue) {
    guard let version = body["version"].flatMap(QEMUVersion.init) else { return nil }
    self.version = version
    capabilities = (body["capabilities"]?.array ?? []).compactMap(\.string)
  }

  var json: JSONValue {
    ["version": version.json, "capabilities": .array(capabilities.map { .string($0) })]
  }
}

/// One command of a client.
public struct QMPCommand: Equatable, Sendable {
  /// What is asked for, such as `query-status`.
  public var name: String
  /// Named values, or `null` for none.
  public var arguments: JSONValue
  /// Comes back with the answer.
  public var id: JSONValue?
  /// Whether it overtakes the commands before it, even while QEMU's main loop stands still.
  public var isOutOfBand: Bool

  /// A command.
  public init(
    name: String, arguments: JSONValue = .null, id: JSONValue? = nil, isOutOfBand: Bool = false
  ) {
    self.name = name
    self.arguments = arguments
    self.id = id
    self.isOutOfBand = isOutOfBand
  }

  /// Reads a client's message; nil where it is no command.
  init?(_ value: JSONValue) {
    guard let name = value["execute"]?.string ?? value["exec-oob"]?.string else { return nil }
    self.init(
      name: name, arguments: value["arguments"] ?? .null, id: value["id"],
      isOutOfBand: value["execute"] == nil)
  }

  var json: JSONValue {
    var members = [JSONMember(isOutOfBand ? "exec-oob" : "execute", .string(name))]
    // Where there are none, QEMU takes an empty object but not null.
    if !arguments.isNull { members.append(JSONMember("arguments", arguments)) }
    if let id { members.append(JSONMember("id", id)) }
    return .object(members)
  }
}
