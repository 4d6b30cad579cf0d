// Commands that measure how fast the guest dirties its memory.

import JSON
import QMP

extension MachineMonitor {
  static let dirtyRateCommands: [QMPServedCommand<MachineMonitor>] = [
    QMPServedCommand(
      "calc-dirty-rate", "Begins to measure how fast the guest dirties its memory.",
      arguments: [
        .required("calc-time", .int), .optional("calc-time-unit", .enumeration(timeUnit)),
        .optional("sample-pages", .int), .optional("mode", .enumeration(dirtyRateMode)),
      ], handler: calculateDirtyRate),
    QMPServedCommand(
      "query-dirty-rate", "The latest measurement; rates in MiB a second.",
      arguments: [.optional("calc-time-unit", .enumeration(timeUnit))],
      returns: .object(dirtyRateInfo), handler: queryDirtyRate),
  ]

  private static let timeUnit = QMPEnumeration("TimeUnit", ["second", "millisecond"])

  private static let dirtyRateMode = QMPEnumeration(
    "DirtyRateMeasureMode", DirtyRateMeter.Mode.allCases.map(\.rawValue))

  private static let dirtyRateInfo = QMPObject(
    "DirtyRateInfo",
    [
      .optional("dirty-rate", .int),
      .required(
        "status",
        .enumeration(
          QMPEnumeration("DirtyRateStatus", DirtyRateMeter.Status.allCases.map(\.rawValue)))),
      .required("start-time", .int), .required("calc-time", .int),
      .required("calc-time-unit", .enumeration(timeUnit)), .required("sample-pages", .size),
      .required("mode", .enumeration(dirtyRateMode)),
      .optional(
        "vcpu-dirty-rate",
        .list(
          .object(
            QMPObject("DirtyRateVcpu", [.required("id", .int), .required("dirty-rate", .int)])))),
    ])

  /// The shortest and the longest period, in milliseconds.
  private static let periods: ClosedRange<Int64> = 50...60_000
  /// The pages that may be sampled in each GiB.
  private static let samples: ClosedRange<Int64> = 128...16_384
  private static let standardSamples: Int64 = 512

  private static func calculateDirtyRate(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let time = try call.int64("calc-time")
    let factor: Int64 = call["calc-time-unit"] == "millisecond" ? 1 : 1000
    let (milliseconds, overflow) = time.multipliedReportingOverflow(by: factor)
    guard !overflow, periods.contains(milliseconds) else {
      throw QMPRefusal(
        "Calculation time is out of range [\(periods.lowerBound)ms, \(periods.upperBound)ms].")
    }
    let mode = call["mode"]?.string.flatMap(DirtyRateMeter.Mode.init) ?? .pageSampling
    let given = call["sample-pages"]?.int64
    if given != nil, mode != .pageSampling {
      throw QMPRefusal("sample-pages is used only in page-sampling mode")
    }
    let count = given ?? standardSamples
    guard samples.contains(count) else {
      throw QMPRefusal(
        "sample-pages is out of range[\(samples.lowerBound), \(samples.upperBound)].")
    }
    let source = monitor.machine.dirtyTracking.source
    if mode == .dirtyRing, source != "ring" {
      throw QMPRefusal("dirty ring is disabled, use sample-pages method or remeasure later.")
    }
    if mode == .dirtyBitmap, source == "ring" {
      throw QMPRefusal("dirty ring is enabled: measure with mode 'dirty-ring'")
    }
    try monitor.dirtyRate.start(
      DirtyRateMeter.Order(
        mode: mode, milliseconds: milliseconds,
        samplesPerGibibyte: mode == .pageSampling ? UInt64(count) : 0),
      of: monitor.machine)
    return [:]
  }

  private static func queryDirtyRate(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let account = monitor.dirtyRate.account
    let unit = call["calc-time-unit"]?.string ?? "second"
    let time = unit == "second" ? account.order.milliseconds / 1000 : account.order.milliseconds
    var members: [JSONMember] = [
      JSONMember("status", .string(account.status.rawValue)),
      JSONMember("start-time", .integer(account.startSeconds)),
      JSONMember("calc-time", .integer(time)), JSONMember("calc-time-unit", .string(unit)),
      JSONMember("sample-pages", JSONValue(account.order.samplesPerGibibyte)),
      JSONMember("mode", .string(account.order.mode.rawValue)),
    ]
    if let rate = account.rate { members.append(JSONMember("dirty-rate", JSONValue(rate))) }
    if let rates = account.ratesByProcessor {
      let list = rates.indices.map { index -> JSONValue in
        ["id": JSONValue(index), "dirty-rate": JSONValue(rates[index])]
      }
      members.append(JSONMember("vcpu-dirty-rate", .array(list)))
    }
    return .object(members)
  }
}
