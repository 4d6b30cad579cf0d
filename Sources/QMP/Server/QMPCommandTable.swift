// The commands and events of a server, looked up by name, with the three that describe the rest.

public import JSON

/// What a server offers.
public struct QMPCommandTable<Host: QMPHost>: Sendable {
  /// The version that the server reports.
  public let version: QEMUVersion
  /// The commands, in the order in which they are listed.
  public let commands: [QMPServedCommand<Host>]
  /// The events, in the order in which they are listed.
  public let events: [QMPServedEvent]
  private let places: [String: Int]

  /// A table.
  ///
  /// `query-version`, `query-commands` and `query-qmp-schema` are added: the table itself is what
  /// they tell.
  /// - Parameters:
  ///   - version: what the server reports as its version.
  ///   - commands: each name once.
  ///   - events: each name once.
  public init(
    version: QEMUVersion, commands: [QMPServedCommand<Host>], events: [QMPServedEvent]
  ) {
    self.version = version
    self.events = events
    let described = commands + Self.introspection(commands, events, version)
    self.commands = described
    places = Dictionary(
      described.indices.map { (described[$0].name, $0) }, uniquingKeysWith: { first, _ in first })
    precondition(places.count == described.count, "a command stands in the table once")
  }

  /// The command of this name.
  public subscript(name: String) -> QMPServedCommand<Host>? {
    places[name].map { commands[$0] }
  }

  /// Has a command carried out, or refuses it as QEMU does.
  ///
  /// The order of the checks is QEMU's: name, out of band or not, run state, arguments.
  /// - Parameters:
  ///   - call: the command with its arguments as they came.
  ///   - host: what it is for.
  ///   - isOutOfBand: whether it is to overtake others.
  public func answer(
    _ call: QMPCall, for host: Host, isOutOfBand: Bool = false
  ) throws(QMPRefusal) -> JSONValue {
    guard let command = self[call.command] else {
      throw QMPRefusal("The command \(call.command) has not been found", .commandNotFound)
    }
    guard !isOutOfBand || command.isOutOfBandAllowed else {
      throw QMPRefusal("The command \(command.name) does not support OOB")
    }
    try QMPObject(command.name, command.arguments).check(call.arguments, at: "")
    if let refusal = refusal(of: command, for: host) { throw QMPRefusal(refusal) }
    return try command.handler(host, call)
  }

  /// Why the command is not allowed now; a command that always is asks the host nothing.
  private func refusal(of command: QMPServedCommand<Host>, for host: Host) -> String? {
    switch command.allowed {
    case .always: nil
    case .except, .only: command.allowed.refusal(in: host.runState)
    }
  }

  private static func introspection(
    _ commands: [QMPServedCommand<Host>], _ events: [QMPServedEvent], _ version: QEMUVersion
  ) -> [QMPServedCommand<Host>] {
    let names = commands.map(\.name) + ["query-version", "query-commands", "query-qmp-schema"]
    let list = JSONValue((names + ["qmp_capabilities"]).sorted().map { ["name": .string($0)] })
    let number = QMPType.integer(.uint32)
    let triple = QMPObject(
      "VersionTriple",
      [.required("major", number), .required("minor", number), .required("micro", number)])
    let schema = QMPSchemaBox()
    let described: [QMPServedCommand<Host>] = [
      QMPServedCommand(
        "query-version", "The version whose dialect the server speaks, and its own.",
        returns: .object(
          QMPObject(
            "VersionInfo", [.required("qemu", .object(triple)), .required("package", .string)])),
        onlyLooks: true
      ) { _, _ in version.json },
      QMPServedCommand(
        "query-commands", "The names of all commands.",
        returns: .list(.object(QMPObject("CommandInfo", [.required("name", .string)]))),
        onlyLooks: true
      ) { _, _ in list },
      QMPServedCommand(
        "query-qmp-schema", "All commands, events and their types.",
        returns: .list(.object(QMPSchemaWriter.entryType)), onlyLooks: true
      ) { _, _ in schema.value },
    ]
    schema.value = QMPSchemaWriter.schema(
      commands: (commands + described).map {
        QMPSchemaWriter.Command(
          name: $0.name, arguments: $0.arguments, returns: $0.returns,
          isOutOfBandAllowed: $0.isOutOfBandAllowed)
      }, events: events)
    return described
  }
}
