// What `info` shows of a machine's state and parts.

import QMP

extension HumanMonitor {
  static func status(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    let state = human.monitor.runState
    guard !state.isRunning else { return ["VM status: running"] }
    let reason = state == .paused ? "" : " (\(state.rawValue))"
    return ["VM status: paused\(reason)"]
  }

  static func version(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    ["\(MachineMonitor.version)\(MachineMonitor.version.package)"]
  }

  static func name(_ human: HumanMonitor, _ words: [String]) throws(QMPRefusal) -> [String] {
    human.machine.facts.name.map { [$0] } ?? []
  }

  static func uuid(_ human: HumanMonitor, _ words: [String]) throws(QMPRefusal) -> [String] {
    [human.machine.facts.uuid]
  }

  static func kvm(_ human: HumanMonitor, _ words: [String]) throws(QMPRefusal) -> [String] {
    ["kvm support: \(human.machine.facts.accelerator == .kvm ? "enabled" : "disabled")"]
  }

  static func processors(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    let processors = human.machine.processors
    return processors.indices.map { index in
      let mark = index == human.processor ? "*" : " "
      let halted = processors[index].isHalted ? " (halted)" : ""
      return "\(mark) CPU #\(index):\(halted) thread_id=\(processors[index].threadIdentifier)"
    }
  }

  static func balloon(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    ["balloon: actual=\(try human.monitor.presentBalloon().actualByteCount >> 20)"]
  }

  static func blockDevices(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    var lines: [String] = []
    for device in human.machine.blockDevices {
      if !lines.isEmpty { lines.append("") }
      lines += [
        "\(device.name) (\(device.name)): \(device.path) "
          + "(raw\(device.isReadOnly ? ", read-only" : ""))",
        "    Attached to:      \(device.devicePath)", "    Cache mode:       writeback",
      ]
      if words.contains("-v") { lines.append("    Size:             \(device.byteCount) bytes") }
    }
    return lines
  }

  static func memoryBackends(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    var lines: [String] = []
    for block in human.machine.ramBlocks where !block.isReadOnly {
      lines += [
        "memory backend: \(block.name)", "  size:  \(block.usedByteCount)", "  merge: false",
        "  dump: true", "  prealloc: false", "  share: \(block.isShared)", "  reserve: false",
        "  policy: default", "  host nodes: ", "",
      ]
    }
    return lines
  }

  static func memorySize(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    ["base memory: \(human.machine.facts.memoryByteCount)", "plugged memory: 0"]
  }

  static func dirtyRate(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    let account = human.monitor.dirtyRate.account
    var lines = [
      "Status: \(account.status.rawValue)", "Start Time: \(account.startSeconds) (s)",
      "Sample Pages: \(account.order.samplesPerGibibyte) (per GB)",
      "Period: \(account.order.milliseconds) (ms)", "Mode: \(account.order.mode.rawValue)",
    ]
    lines.append("Dirty rate: \(account.rate.map { "\($0) (MB/s)" } ?? "(not ready)")")
    if let failure = account.failure { lines.append("Failed: \(failure)") }
    let tracking = human.machine.dirtyTracking
    lines.append("Dirty log: \(tracking.source) (\(tracking.reason))")
    return lines
  }
}
