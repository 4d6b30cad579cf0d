// What a move did, as lines for a person and as members of a JSON object.

import Endpoints
import JSON

extension MigrateResult {
  /// A sentence about the machine, and the account of its memory.
  var lines: [String] {
    let stop = downtimeMilliseconds.map { "; it stood still for \(Units.milliseconds($0))" } ?? ""
    let runs = isRunning ? "The machine runs" : "The machine is, standing still,"
    let sent = "\(Units.size(wireBytes)) sent for \(Units.size(ramBytes)) of memory"
    var pages = [
      "\(Units.count(pagesNormal)) whole", "\(Units.count(pagesZero)) zero",
    ]
    if let pagesKnown, pagesKnown > 0 { pages.append("\(Units.count(pagesKnown)) known there") }
    if let pagesExcluded, pagesExcluded > 0 {
      pages.append("\(Units.count(pagesExcluded)) left out")
    }
    if mode == .postcopy { pages.append("\(Units.count(pageRequests)) asked for") }
    return [
      "\(runs) at the destination after \(Units.seconds(seconds))\(stop).",
      "\(sent)\(rounds > 0 ? " in \(Units.count(rounds, "round"))" : ""); "
        + "pages: \(pages.joined(separator: ", ")).",
    ]
  }

  /// The contract's fields; `downtime_ms` is null where the machine stood still before.
  var jsonMembers: [JSONMember] {
    [
      JSONMember("status", .string(status)), JSONMember("mode", .string(mode.rawValue)),
      JSONMember("running", .bool(isRunning)),
      JSONMember("downtime_ms", downtimeMilliseconds.map(JSONValue.number) ?? .null),
      JSONMember(
        "reported_downtime_ms", reportedDowntimeMilliseconds.map(JSONValue.number) ?? .null),
      JSONMember("rounds", JSONValue(rounds)), JSONMember("wire_bytes", JSONValue(wireBytes)),
      JSONMember("ram_bytes", JSONValue(ramBytes)), JSONMember("pages_zero", JSONValue(pagesZero)),
      JSONMember("pages_normal", JSONValue(pagesNormal)),
      JSONMember("pages_known", pagesKnown.map { JSONValue($0) } ?? .null),
      JSONMember("pages_excluded", pagesExcluded.map { JSONValue($0) } ?? .null),
      JSONMember("page_requests", JSONValue(pageRequests)),
      JSONMember("precopy_bytes", phaseBytes.map { JSONValue($0.precopy) } ?? .null),
      JSONMember("downtime_bytes", phaseBytes.map { JSONValue($0.downtime) } ?? .null),
      JSONMember("postcopy_bytes", phaseBytes.map { JSONValue($0.postcopy) } ?? .null),
      JSONMember("seconds", .number(seconds)),
    ]
  }
}
