// The events as QMP names them.

import JSON
import QMP

extension MachineMonitor {
  static let servedEvents: [QMPServedEvent] = [
    QMPServedEvent("STOP", "The vCPUs have stopped."),
    QMPServedEvent("RESUME", "The vCPUs run."),
    QMPServedEvent("SHUTDOWN", "The machine ends, or its guest has ended it.", data: causes),
    QMPServedEvent("RESET", "The machine was reset.", data: causes),
    QMPServedEvent("POWERDOWN", "The power button was pressed."),
    QMPServedEvent(
      "MIGRATION", "A migration has got to a state; needs the capability `events`.",
      data: [.required("status", .enumeration(migrationStatus))]),
    QMPServedEvent(
      "MIGRATION_PASS", "Memory is gone through once more; needs the capability `events`.",
      data: [.required("pass", .int)]),
    QMPServedEvent(
      "BALLOON_CHANGE", "The guest has so many bytes of memory now.",
      data: [.required("actual", .int)], interval: .seconds(1)),
    QMPServedEvent(
      "DUMP_COMPLETED", "A dump of memory has ended.",
      data: [
        .required("result", .object(dumpResult)), .optional("error", .string),
      ]),
  ]

  private static let causes: [QMPMember] = [
    .required("guest", .boolean),
    .required(
      "reason",
      .enumeration(QMPEnumeration("ShutdownCause", ShutdownCause.allCases.map(\.rawValue)))),
  ]

  static let migrationStatus = QMPEnumeration(
    "MigrationStatus",
    [
      "none", "setup", "cancelling", "cancelled", "active", "postcopy-active", "postcopy-paused",
      "postcopy-recover-setup", "postcopy-recover", "completed", "failed", "colo",
      "pre-switchover", "device", "wait-unplug",
    ])

  static let dumpResult = QMPObject(
    "DumpQueryResult",
    [
      .required(
        "status",
        .enumeration(QMPEnumeration("DumpStatus", ["none", "active", "completed", "failed"]))),
      .required("completed", .int), .required("total", .int),
    ])
}

extension MachineEvent {
  /// QMP's name of the event.
  var name: String {
    switch self {
    case .stop: "STOP"
    case .resume: "RESUME"
    case .shutdown: "SHUTDOWN"
    case .reset: "RESET"
    case .powerdown: "POWERDOWN"
    case .migration: "MIGRATION"
    case .migrationPass: "MIGRATION_PASS"
    case .balloonChange: "BALLOON_CHANGE"
    case .dumpCompleted: "DUMP_COMPLETED"
    }
  }

  /// What the event says.
  var data: JSONValue {
    switch self {
    case .stop, .resume, .powerdown: return [:]
    case .shutdown(let isGuest, let cause), .reset(let isGuest, let cause):
      return ["guest": .bool(isGuest), "reason": .string(cause.rawValue)]
    case .migration(let status): return ["status": .string(status.word)]
    case .migrationPass(let pass): return ["pass": JSONValue(pass)]
    case .balloonChange(let byteCount): return ["actual": JSONValue(byteCount)]
    case .dumpCompleted(let written, let total, let failure):
      var members = [
        JSONMember(
          "result",
          [
            "status": failure == nil ? "completed" : "failed", "completed": JSONValue(written),
            "total": JSONValue(total),
          ])
      ]
      if let failure { members.append(JSONMember("error", .string(failure))) }
      return .object(members)
    }
  }
}
