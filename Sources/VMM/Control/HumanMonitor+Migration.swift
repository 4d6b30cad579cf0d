// What `info` shows of migrations.

import JSON
import QMP

extension HumanMonitor {
  static func migration(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    let account = human.machine.migration.account
    guard account.status != .none else { return [] }
    var lines: [String] = []
    let reason = account.failure.map { " (\($0))" } ?? ""
    lines.append("Migration status: \(account.status.word)\(reason)")
    func add(_ name: String, _ value: Int?) {
      if let value { lines.append("\(name): \(value) ms") }
    }
    add("total time", account.totalMilliseconds)
    add("downtime", account.downtimeMilliseconds)
    add("expected downtime", account.expectedDowntimeMilliseconds)
    add("setup", account.setupMilliseconds)
    if let ram = account.ram {
      lines += [
        "transferred ram: \(ram.transferredByteCount >> 10) kbytes",
        "throughput: \(ram.megabitsPerSecond) mbps",
        "remaining ram: \(ram.remainingByteCount >> 10) kbytes",
        "total ram: \(ram.totalByteCount >> 10) kbytes",
        "duplicate: \(ram.zeroPageCount) pages", "normal: \(ram.normalPageCount) pages",
        "excluded: \(ram.excludedPageCount) pages",
        "dirty sync count: \(ram.dirtySyncCount)", "page size: 4 kbytes",
        "pages-per-second: \(ram.pagesPerSecond)",
      ]
    }
    lines += account.blockers.map { "blocked: \($0)" }
    return lines
  }

  static func capabilities(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    let options = human.monitor.migrationOptions
    return MigrationCapability.all.map { "\($0.name): \(options.has($0.name) ? "on" : "off")" }
  }

  static func parameters(
    _ human: HumanMonitor, _ words: [String]
  ) throws(QMPRefusal) -> [String] {
    let options = human.monitor.migrationOptions
    return MigrationParameter.all.map { parameter in
      "\(parameter.name): \(text(of: options[parameter.name]))\(parameter.unit)"
    }
  }

  private static func text(of value: JSONValue) -> String {
    switch value {
    case .bool(let value): value ? "on" : "off"
    case .string(""): "''"
    case .string(let text): text
    case .null, .integer, .unsigned, .number, .array, .object: value.text()
    }
  }
}
