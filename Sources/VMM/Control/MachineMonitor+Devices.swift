// Commands about disks, memory and the balloon.

import JSON
import QMP

extension MachineMonitor {
  static let deviceCommands: [QMPServedCommand<MachineMonitor>] = [
    QMPServedCommand(
      "query-block", "The disks and the files behind them.", returns: .list(.object(blockInfo)),
      handler: queryBlock),
    QMPServedCommand(
      "query-memory-size-summary", "How much memory the machine was started with.",
      returns: .object(
        QMPObject(
          "MemoryInfo", [.required("base-memory", .size), .optional("plugged-memory", .size)])),
      handler: queryMemorySize),
    QMPServedCommand(
      "query-memdev", "The RAM blocks that a person asked for.",
      returns: .list(.object(memoryBackend)), handler: queryMemoryBackends),
    QMPServedCommand(
      "query-balloon", "How much memory the guest has, what is in the balloon not counted.",
      returns: .object(QMPObject("BalloonInfo", [.required("actual", .size)])),
      handler: queryBalloon),
    QMPServedCommand(
      "balloon", "Asks the guest to make do with so many bytes.",
      arguments: [.required("value", .int)], handler: setBalloon),
  ]

  private static let imageInfo = QMPObject(
    "ImageInfo",
    [
      .required("filename", .string), .required("format", .string),
      .required("virtual-size", .size), .optional("actual-size", .size),
    ])

  private static let cacheInfo = QMPObject(
    "BlockdevCacheInfo",
    [
      .required("writeback", .boolean), .required("direct", .boolean),
      .required("no-flush", .boolean),
    ])

  private static let insertedInfo = QMPObject(
    "BlockDeviceInfo",
    [
      .required("file", .string), .optional("node-name", .string), .required("ro", .boolean),
      .required("drv", .string), .required("backing_file_depth", .int),
      .required("encrypted", .boolean),
      .required(
        "detect_zeroes",
        .enumeration(QMPEnumeration("BlockdevDetectZeroesOptions", ["off"]))),
      .required("bps", .int), .required("bps_rd", .int), .required("bps_wr", .int),
      .required("iops", .int), .required("iops_rd", .int), .required("iops_wr", .int),
      .required("write_threshold", .int), .required("active", .boolean),
      .required("image", .object(imageInfo)), .required("cache", .object(cacheInfo)),
    ])

  private static let blockInfo = QMPObject(
    "BlockInfo",
    [
      .required("device", .string), .optional("qdev", .string), .required("type", .string),
      .required("removable", .boolean), .required("locked", .boolean),
      .optional("inserted", .object(insertedInfo)),
      .optional(
        "io-status",
        .enumeration(QMPEnumeration("BlockDeviceIoStatus", ["ok", "failed", "nospace"]))),
    ])

  private static let memoryBackend = QMPObject(
    "Memdev",
    [
      .optional("id", .string), .required("size", .size), .required("merge", .boolean),
      .required("dump", .boolean), .required("prealloc", .boolean), .required("share", .boolean),
      .optional("reserve", .boolean), .required("host-nodes", .list(.int)),
      .required("policy", .enumeration(QMPEnumeration("HostMemPolicy", ["default"]))),
    ])

  private static func queryBlock(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    .array(monitor.machine.blockDevices.map(json))
  }

  private static func json(of device: BlockDeviceFacts) -> JSONValue {
    var image: [JSONMember] = [
      JSONMember("filename", .string(device.path)), JSONMember("format", "raw"),
      JSONMember("virtual-size", JSONValue(device.byteCount)),
    ]
    if let occupied = device.occupiedByteCount {
      image.append(JSONMember("actual-size", JSONValue(occupied)))
    }
    return [
      "device": .string(device.name), "qdev": .string(device.devicePath), "type": "unknown",
      "removable": false, "locked": false, "io-status": "ok",
      "inserted": [
        "file": .string(device.path), "node-name": .string(device.name),
        "ro": .bool(device.isReadOnly), "drv": "raw", "backing_file_depth": 0,
        "encrypted": false, "detect_zeroes": "off", "bps": 0, "bps_rd": 0, "bps_wr": 0,
        "iops": 0, "iops_rd": 0, "iops_wr": 0, "write_threshold": 0, "active": true,
        "image": .object(image),
        "cache": ["writeback": true, "direct": false, "no-flush": false],
      ],
    ]
  }

  private static func queryMemorySize(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    ["base-memory": JSONValue(monitor.machine.facts.memoryByteCount), "plugged-memory": 0]
  }

  private static func queryMemoryBackends(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let blocks = monitor.machine.ramBlocks.filter { !$0.isReadOnly }
    return .array(
      blocks.map { block in
        [
          "id": .string(block.name), "size": JSONValue(block.usedByteCount), "merge": false,
          "dump": true, "prealloc": false, "share": .bool(block.isShared), "reserve": false,
          "host-nodes": [], "policy": "default",
        ]
      })
  }

  /// The balloon, or QEMU's refusal where there is none.
  func presentBalloon() throws(QMPRefusal) -> BalloonFacts {
    guard let balloon = machine.balloon else {
      throw QMPRefusal("No balloon device has been activated", .deviceNotActive)
    }
    return balloon
  }

  private static func queryBalloon(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    ["actual": JSONValue(try monitor.presentBalloon().actualByteCount)]
  }

  private static func setBalloon(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    _ = try monitor.presentBalloon()
    let target = try call.int64("value")
    guard target > 0 else { throw QMPRefusal("Parameter 'target' expects a size") }
    let byteCount = min(UInt64(target), monitor.machine.facts.memoryByteCount)
    try monitor.asking { (machine) throws(MachineError) in
      try machine.setBalloon(targetByteCount: byteCount)
    }
    return [:]
  }
}
