// Lines for people: `human-monitor-command` and what it prints. Clients read some of it too, so its
// forms are QEMU's.

import JSON
import QMP

extension MachineMonitor {
  static let humanCommands: [QMPServedCommand<MachineMonitor>] = [
    QMPServedCommand(
      "human-monitor-command", "Has a line carried out as a person would type it.",
      arguments: [.required("command-line", .string), .optional("cpu-index", .int)],
      returns: .string, handler: humanMonitorCommand)
  ]

  private static func humanMonitorCommand(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let processor = call["cpu-index"]?.int
    if let processor, !monitor.machine.processors.indices.contains(processor) {
      throw QMPRefusal("Parameter 'cpu-index' expects a CPU number")
    }
    let line = try call.string("command-line")
    return .string(HumanMonitor(monitor: monitor, processor: processor ?? 0).answer(line))
  }
}

/// Carries lines out for people.
struct HumanMonitor {
  /// A subject of `info`.
  struct Subject: Sendable {
    /// The word after `info`.
    let name: String
    /// What may follow, such as ` [-f]`.
    let parameters: String
    /// What is shown, in a few words.
    let summary: String
    /// The words that may follow.
    let flags: [String]
    let show: @Sendable (HumanMonitor, [String]) throws(QMPRefusal) -> [String]

    init(
      _ name: String, _ summary: String, flags: [String] = [],
      show: @escaping @Sendable (HumanMonitor, [String]) throws(QMPRefusal) -> [String]
    ) {
      self.name = name
      self.summary = summary
      self.flags = flags
      parameters = flags.map { " [\($0)]" }.joined()
      self.show = show
    }
  }

  let monitor: MachineMonitor
  /// The vCPU that is meant where only one is shown.
  let processor: Int

  var machine: any MachineControl { monitor.machine }

  /// All subjects, in the order of the alphabet.
  static let subjects: [Subject] = [
    Subject("balloon", "show balloon information", show: balloon),
    Subject("block", "show info of all block devices", flags: ["-v"], show: blockDevices),
    Subject("cpus", "show infos for each CPU", show: processors),
    Subject("dirty_rate", "show dirty rate information", show: dirtyRate),
    Subject("kvm", "show KVM information", show: kvm),
    Subject("memdev", "show memory backends", show: memoryBackends),
    Subject("memory_size_summary", "show the amount of memory in bytes", show: memorySize),
    Subject("migrate", "show migration status", show: migration),
    Subject("migrate_capabilities", "show current migration capabilities", show: capabilities),
    Subject("migrate_parameters", "show current migration parameters", show: parameters),
    Subject("mtree", "show memory tree (-f: the flat view)", flags: ["-f"], show: memoryTree),
    Subject("name", "show the current VM name", show: name),
    Subject("ramblock", "Display system ramblock information", show: ramBlocks),
    Subject(
      "registers", "show the cpu registers (-a: of all CPUs)", flags: ["-a"], show: registers),
    Subject("status", "show the current VM status (running|paused)", show: status),
    Subject("uuid", "show the current VM UUID", show: uuid),
    Subject("version", "show the version of the monitor", show: version),
  ]

  /// What a line prints; errors too are only printed.
  func answer(_ line: String) -> String {
    let words = line.split(separator: " ").map(String.init)
    guard let first = words.first else { return "" }
    switch first {
    case "info" where words.count == 1, "help" where words.count == 1, "?": return help
    case "info": return info(Array(words.dropFirst()))
    case "help": return help
    default: return "unknown command: '\(first)'\r\n"
    }
  }

  private var help: String {
    Self.subjects.map { "info \($0.name)\($0.parameters)  -- \($0.summary)\r\n" }.joined()
  }

  private func info(_ words: [String]) -> String {
    guard let subject = Self.subjects.first(where: { $0.name == words[0] }) else {
      return "unknown command: 'info \(words[0])'\r\n"
    }
    let arguments = Array(words.dropFirst())
    guard arguments.allSatisfy({ subject.flags.contains($0) }) else {
      return "\(subject.name): extraneous characters at the end of line\r\n"
        + "Try \"help info \(subject.name)\" for more information\r\n"
    }
    do throws(QMPRefusal) {
      return try subject.show(self, arguments).map { $0 + "\r\n" }.joined()
    } catch {
      return "Error: \(error)\r\n"
    }
  }
}
