// Commands that tell what the machine is.

import JSON
import QMP

extension MachineMonitor {
  static let descriptionCommands: [QMPServedCommand<MachineMonitor>] = [
    QMPServedCommand(
      "query-name", "The name that the machine was given, if any.",
      returns: .object(QMPObject("NameInfo", [.optional("name", .string)])), onlyLooks: true,
      handler: queryName),
    QMPServedCommand(
      "query-uuid", "The machine's identity; zeros where it was given none.",
      returns: .object(QMPObject("UuidInfo", [.required("UUID", .string)])), onlyLooks: true,
      handler: queryUUID),
    QMPServedCommand(
      "query-kvm", "Whether KVM runs the vCPUs, and whether it could.",
      returns: .object(
        QMPObject("KvmInfo", [.required("enabled", .boolean), .required("present", .boolean)])),
      handler: queryKVM),
    QMPServedCommand(
      "query-target", "The guest's architecture.",
      returns: .object(QMPObject("TargetInfo", [.required("arch", .enumeration(targets))])),
      handler: queryTarget),
    QMPServedCommand(
      "query-machines", "The machine types there are: this machine's.",
      returns: .list(.object(machineInfo)), handler: queryMachines),
    QMPServedCommand(
      "query-current-machine", "Whether the machine can be woken from sleep.",
      returns: .object(
        QMPObject("CurrentMachineParams", [.required("wakeup-suspend-support", .boolean)])),
      handler: queryCurrentMachine),
    QMPServedCommand(
      "qom-get",
      "A property of an object: `type` of `/machine`, `mem-path` of a RAM block in `/objects`, "
        + "`guest-stats` of `/machine/peripheral/balloon0`.",
      arguments: [.required("path", .string), .required("property", .string)], returns: .any,
      handler: qomGet),
    QMPServedCommand(
      "qom-set",
      "Sets `guest-stats-polling-interval` of `/machine/peripheral/balloon0`, in seconds: how "
        + "often the guest is asked for what `guest-stats` tells; 0 for not at all.",
      arguments: [
        .required("path", .string), .required("property", .string), .required("value", .any),
      ], handler: setBalloonProperty),
    QMPServedCommand(
      "query-cpus-fast", "The vCPUs and the host's threads that run them.",
      returns: .list(.object(processorInfo)), handler: queryProcessors),
  ]

  private static let targets = QMPEnumeration("SysEmuTarget", ["x86_64"])

  private static let machineInfo = QMPObject(
    "MachineInfo",
    [
      .required("name", .string), .optional("alias", .string), .optional("is-default", .boolean),
      .required("cpu-max", .int), .required("hotpluggable-cpus", .boolean),
      .required("numa-mem-supported", .boolean), .required("deprecated", .boolean),
      .optional("default-ram-id", .string), .required("acpi", .boolean),
    ])

  private static let processorInfo = QMPObject(
    "CpuInfoFast",
    [
      .required("cpu-index", .int), .required("qom-path", .string), .required("thread-id", .int),
      .required("target", .enumeration(targets)),
    ])

  private static func queryName(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    monitor.machine.facts.name.map { ["name": .string($0)] } ?? [:]
  }

  private static func queryUUID(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    ["UUID": .string(monitor.machine.facts.uuid)]
  }

  private static func queryKVM(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    ["enabled": .bool(monitor.machine.facts.accelerator == .kvm), "present": true]
  }

  private static func queryTarget(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    ["arch": "x86_64"]
  }

  private static func queryMachines(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let facts = monitor.machine.facts
    return [
      [
        "name": .string(facts.machineType), "is-default": true,
        "cpu-max": JSONValue(facts.processorLimit), "hotpluggable-cpus": false,
        "numa-mem-supported": false, "deprecated": false,
        "default-ram-id": .string(facts.mainMemoryBlock), "acpi": false,
      ]
    ]
  }

  private static func queryCurrentMachine(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    ["wakeup-suspend-support": false]
  }

  private static func qomGet(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let path = try call.string("path"), property = try call.string("property")
    let type = monitor.machine.facts.machineType + "-machine"
    if path == balloonPath { return try balloonProperty(property, of: monitor) }
    if path == "/machine" {
      guard property == "type" else {
        throw QMPRefusal("Property '\(type).\(property)' not found")
      }
      return .string(type)
    }
    let block = monitor.machine.ramBlocks.first { "/objects/\($0.name)" == path }
    guard let block else { throw QMPRefusal("Device '\(path)' not found", .deviceNotFound) }
    guard property == "mem-path", let file = block.path else {
      throw QMPRefusal("Property '\(block.name).\(property)' not found")
    }
    return .string(file)
  }

  private static func queryProcessors(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let processors = monitor.machine.processors
    return .array(
      processors.indices.map { index in
        [
          "cpu-index": JSONValue(index), "qom-path": "/machine/cpu[\(index)]",
          "thread-id": .integer(Int64(processors[index].threadIdentifier)), "target": "x86_64",
        ]
      })
  }
}
