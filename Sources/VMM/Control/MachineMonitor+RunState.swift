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
          ])), onlyLooks: true, handler: queryStatus),
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
    try monitor.asking { (machine) throws(MachineError) in try machine.stop() }
    return [:]
  }

  private static func cont(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    if monitor.machine.runState.needsReset {
      throw QMPRefusal("Resetting the Virtual Machine is required")
    }
    try monitor.asking { (machine) throws(MachineError) in try machine.cont() }
    return [:]
  }

  private static func systemReset(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    try monitor.asking { (machine) throws(MachineError) in try machine.reset() }
    return [:]
  }

  private static func systemPowerdown(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    monitor.machine.powerDown()
    return [:]
  }

  private static func quit(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    monitor.machine.quit(.hostQuit)
    return [:]
  }
}
