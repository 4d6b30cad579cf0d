// Commands for descriptors that travel beside the bytes of a Unix socket.

import JSON
import QMP

extension MachineMonitor {
  static let descriptorCommands: [QMPServedCommand<MachineMonitor>] = [
    QMPServedCommand(
      "getfd", "Gives a name to the descriptor that came with this command (SCM_RIGHTS).",
      arguments: [.required("fdname", .string)], takesDescriptor: true, handler: takeDescriptor),
    QMPServedCommand(
      "closefd", "Closes a descriptor that nothing has used.",
      arguments: [.required("fdname", .string)], handler: closeDescriptor),
  ]

  private static func takeDescriptor(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    guard let descriptor = call.descriptor else {
      throw QMPRefusal("No file descriptor supplied via SCM_RIGHTS")
    }
    try call.descriptors.add(descriptor, as: try call.string("fdname"))
    return [:]
  }

  private static func closeDescriptor(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let name = try call.string("fdname")
    guard call.descriptors.take(name) != nil else {
      throw QMPRefusal("File descriptor named '\(name)' not found")
    }
    return [:]
  }
}
