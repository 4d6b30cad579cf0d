// The balloon as an object with properties: what the guest says of its memory, and how often.

import Devices
import JSON
import QMP

extension MachineMonitor {
  /// Where tools look for a machine's first balloon.
  static let balloonPath = "/machine/peripheral/balloon0"

  private static let statisticsName = "guest-stats"
  private static let intervalName = "guest-stats-polling-interval"
  /// The longest interval in seconds: what QEMU takes too.
  private static let intervals: ClosedRange<Int64> = 0...Int64(UInt32.max)

  /// A property of the balloon, in QEMU's shape.
  static func balloonProperty(
    _ name: String, of monitor: MachineMonitor
  ) throws(QMPRefusal) -> JSONValue {
    let balloon = try balloon(of: monitor)
    switch name {
    case "type": return "virtio-balloon-device"
    case intervalName: return .integer(balloon.pollInterval?.components.seconds ?? 0)
    case statisticsName: return statistics(of: balloon)
    default: throw QMPRefusal("Property 'virtio-balloon-device.\(name)' not found")
    }
  }

  static func setBalloonProperty(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let path = try call.string("path"), property = try call.string("property")
    guard path == balloonPath else {
      throw QMPRefusal("Device '\(path)' not found", .deviceNotFound)
    }
    _ = try balloon(of: monitor)
    guard property == intervalName else {
      throw QMPRefusal("Property 'virtio-balloon-device.\(property)' not found")
    }
    guard let seconds = call["value"]?.int64, intervals.contains(seconds) else {
      throw QMPRefusal("\(intervalName) takes a number of seconds up to \(intervals.upperBound)")
    }
    monitor.machine.pollBalloonStatistics(every: seconds == 0 ? nil : .seconds(seconds))
    return [:]
  }

  private static func balloon(
    of monitor: MachineMonitor
  ) throws(QMPRefusal) -> BalloonFacts {
    guard let balloon = monitor.machine.balloon else {
      throw QMPRefusal("Device '\(balloonPath)' not found", .deviceNotFound)
    }
    return balloon
  }

  /// The numbers by QEMU's names; what the guest does not know is all ones, what it has never
  /// been asked for is as old as time.
  private static func statistics(of balloon: BalloonFacts) -> JSONValue {
    let members = BalloonStatistics.Kind.allCases.map { kind in
      let value = balloon.statistics?.values[kind] ?? UInt64.max
      return JSONMember("stat-" + word(for: kind), JSONValue(value))
    }
    let now = QMPEvent.Timestamp.now().seconds
    let update = balloon.statistics == nil ? 0 : now - balloon.age.components.seconds
    return ["stats": .object(members), "last-update": .integer(update)]
  }

  private static func word(for kind: BalloonStatistics.Kind) -> String {
    switch kind {
    case .swapIn: "swap-in"
    case .swapOut: "swap-out"
    case .majorFaults: "major-faults"
    case .minorFaults: "minor-faults"
    case .freeMemory: "free-memory"
    case .totalMemory: "total-memory"
    case .availableMemory: "available-memory"
    case .diskCaches: "disk-caches"
    case .hugePageAllocations: "htlb-pgalloc"
    case .hugePageFailures: "htlb-pgfail"
    case .outOfMemoryKills: "oom-kills"
    }
  }
}
