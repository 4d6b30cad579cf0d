// What a save did, as lines for a person and as members of a JSON object.

import Endpoints
import JSON

extension SaveResult {
  /// A sentence and the account of the pages.
  var lines: [String] {
    let stop = downtimeMilliseconds.map { "; the guest stood still for \(Units.milliseconds($0))" }
    let excluded = pagesExcluded.map { $0 > 0 ? " (\(Units.count($0)) left out)" : "" } ?? ""
    let pages = [
      "\(Units.count(pagesZero)) zero\(excluded)", "\(Units.count(pagesKnown)) known",
      "\(Units.count(pagesNew)) new",
    ]
    return [
      "Saved \(name): \(Units.size(ramBytes)) of memory in \(Units.seconds(seconds))\(stop ?? "").",
      "Pages: \(pages.joined(separator: ", ")); \(Units.size(storedBytes)) stored.",
    ]
  }

  /// The contract's fields; `downtime_ms` is null where nobody could tell.
  var jsonMembers: [JSONMember] {
    [
      JSONMember("name", .string(name)),
      JSONMember("mode", mode.map { .string($0.rawValue) } ?? .null),
      JSONMember("ram_bytes", JSONValue(ramBytes)),
      JSONMember("pages_zero", JSONValue(pagesZero)), JSONMember("pages_new", JSONValue(pagesNew)),
      JSONMember("pages_known", JSONValue(pagesKnown)),
      JSONMember("pages_excluded", pagesExcluded.map { JSONValue($0) } ?? .null),
      JSONMember("stored_bytes", JSONValue(storedBytes)),
      JSONMember("downtime_ms", downtimeMilliseconds.map(JSONValue.number) ?? .null),
      JSONMember("seconds", .number(seconds)),
    ]
  }
}
