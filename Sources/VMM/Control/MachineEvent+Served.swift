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
      "GUEST_PANICKED", "The guest's kernel has given up; the machine is stopped.",
      data: [
        .required(
          "action", .enumeration(QMPEnumeration("GuestPanicAction", ["pause"])))
      ]),
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
      .enumeration(
        QMPEnumeration(
          "ShutdownCause",
          [
            "host-error", "host-qmp-quit", "host-qmp-system-reset", "host-signal",
            "guest-shutdown", "guest-reset", "guest-panic",
          ]))),
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

/// An event as it is reported.
struct ServedEvent: Sendable {
  /// Its name, which stands in the table.
  let name: String
  /// What it says.
  let data: JSONValue

  init(_ name: String, _ data: JSONValue = [:]) {
    self.name = name
    self.data = data
  }
}

extension MachineEvent {
  /// The event in QMP's words.
  var served: ServedEvent {
    switch self {
    case .stopped: ServedEvent("STOP")
    case .resumed: ServedEvent("RESUME")
    case .powerDown: ServedEvent("POWERDOWN")
    case .guestPanicked: ServedEvent("GUEST_PANICKED", ["action": "pause"])
    case .shutdown(let isByGuest, let reason):
      ServedEvent("SHUTDOWN", ["guest": .bool(isByGuest), "reason": .string(reason.rawValue)])
    case .reset(let isByGuest):
      ServedEvent(
        "RESET",
        [
          "guest": .bool(isByGuest),
          "reason": isByGuest ? "guest-reset" : "host-qmp-system-reset",
        ])
    case .balloonChanged(let byteCount):
      ServedEvent("BALLOON_CHANGE", ["actual": JSONValue(byteCount)])
    }
  }
}

extension MigrationEvent {
  /// The event in QMP's words.
  var served: ServedEvent {
    switch self {
    case .status(let status): ServedEvent("MIGRATION", ["status": .string(status.word)])
    case .pass(let number): ServedEvent("MIGRATION_PASS", ["pass": JSONValue(number)])
    }
  }
}
