// Commands that read and change how a machine migrates.

import JSON
import QMP
import Synchronization

extension MachineMonitor {
  static let migrationSettingsCommands: [QMPServedCommand<MachineMonitor>] = [
    QMPServedCommand(
      "query-migrate-capabilities", "The capabilities, and which of them are on.",
      returns: .list(.object(capabilityStatus)), onlyLooks: true, handler: queryCapabilities),
    QMPServedCommand(
      "migrate-set-capabilities",
      "Turns capabilities on and off; one that this machine lacks stays off.",
      arguments: [.required("capabilities", .list(.object(capabilityStatus)))],
      handler: setCapabilities),
    QMPServedCommand(
      "query-migrate-parameters", "The parameters and their values.",
      returns: .object(QMPObject("MigrationParameters", reportedParameters)),
      onlyLooks: true, handler: queryParameters),
    QMPServedCommand(
      "migrate-set-parameters",
      "Changes parameters, also of a migration under way; one that is lacking keeps its value.",
      arguments: MigrationParameter.all.map { .optional($0.name, $0.type) },
      handler: setParameters),
  ]

  private static let capabilityStatus = QMPObject(
    "MigrationCapabilityStatus",
    [
      .required(
        "capability",
        .enumeration(
          QMPEnumeration("MigrationCapability", MigrationCapability.all.map(\.name)))),
      .required("state", .boolean),
    ])

  /// As they are set, but that texts are never `null` when they are read.
  private static let reportedParameters = MigrationParameter.all.map { parameter in
    let type: QMPType = if case .alternate = parameter.type { .string } else { parameter.type }
    return QMPMember.optional(parameter.name, type)
  }

  private static func queryCapabilities(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let options = monitor.migrationOptions
    return .array(
      MigrationCapability.all.map { capability in
        [
          "state": .bool(options.has(capability.name)),
          "capability": .string(capability.name),
        ]
      })
  }

  private static func setCapabilities(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    guard monitor.machine.migration.account.isSettled else {
      throw QMPRefusal("There's a migration process in progress")
    }
    var capabilities = monitor.migrationOptions.capabilities
    let supported = monitor.machine.migration.supportedCapabilities
    for change in call["capabilities"]?.array ?? [] {
      guard let name = change["capability"]?.string, let state = change["state"]?.bool,
        let capability = MigrationCapability.all.first(where: { $0.name == name })
      else { continue }
      guard state else {
        capabilities.remove(name)
        continue
      }
      guard supported.contains(name) else {
        throw QMPRefusal(
          "This machine has no capability '\(name)': \(capability.objection)")
      }
      capabilities.insert(name)
    }
    if let conflict = MigrationCapability.conflict(in: capabilities) {
      throw QMPRefusal(conflict)
    }
    monitor.options.withLock { $0.capabilities = capabilities }
    return [:]
  }

  private static func queryParameters(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    .object(monitor.migrationOptions.parameters)
  }

  private static func setParameters(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    var options = monitor.migrationOptions
    for index in options.parameters.indices {
      let parameter = MigrationParameter.all[index]
      guard let given = call[parameter.name] else { continue }
      let value: JSONValue = given.isNull ? "" : given
      try parameter.check(value)
      options.parameters[index].value = value
    }
    try MigrationParameter.check(options)
    monitor.options.withLock { $0 = options }
    monitor.machine.migration.apply(options)
    return [:]
  }
}

extension MigrationAccount {
  /// Whether no migration is under way.
  var isSettled: Bool { status.isTerminal }
}
