// Commands that make a machine run, stop, begin anew and end.

import JSON
import QMP

extension MachineMonitor {
  static let runStateCommands: [QMPServedCommand<MachineMonitor>] = [
    QMPServedCommand(
      "query-status", "Whether the machine runs, and why not.",
      returns: .object(
        QMPObject(
          "StatusInfo",
          [
            .required("running", .boolean),
            .required(
              "status",
              .enumeration(QMPEnumeration("RunState", QMPRunState.allCases.map(\.rawValue)))),
          ])), handler: queryStatus),
    QMPServedCommand("stop", "Stops the vCPUs: none runs any longer.", handler: stop),
    QMPServedCommand("cont", "Lets the vCPUs run.", handler: cont),
    QMPServedCommand(
      "system_reset", "Presses the reset button.", handler: systemReset),
    QMPServedCommand(
      "system_powerdown", "Presses the power button, on which the guest may act.",
      handler: systemPowerdown),
    QMPServedCommand("quit", "Ends the machine and its process.", handler: quit),
  ]

  private static func queryStatus(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let state = monitor.runState
    return ["running": .bool(state.isRunning), "status": .string(state.rawValue)]
  }

  private static func stop(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    try monitor.machine.stop()
    return [:]
  }

  private static func cont(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    switch monitor.runState {
    case .internalError, .shutdown:
      throw QMPRefusal("Resetting the Virtual Machine is required")
    case .finishMigrate, .restoreVM, .saveVM:
      throw QMPRefusal("The machine is being saved or restored: it runs when that is over")
    case .debug, .inmigrate, .ioError, .paused, .postmigrate, .prelaunch, .running, .suspended,
      .watchdog, .guestPanicked:
      try monitor.machine.proceed()
    }
    return [:]
  }

  private static func systemReset(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    try monitor.machine.reset()
    return [:]
  }

  private static func systemPowerdown(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    try monitor.machine.pressPowerButton()
    return [:]
  }

  private static func quit(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    monitor.machine.quit()
    return [:]
  }
}
