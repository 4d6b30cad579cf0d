// What a restore did, as lines for a person and as members of a JSON object.

import Endpoints
import JSON

extension RestoreResult {
  /// A sentence about the guest, and one about its memory.
  var lines: [String] {
    let running =
      runningMilliseconds.map { "\(name) runs, \(Units.milliseconds($0)) after the connection" }
      ?? "\(name) is restored"
    var memory =
      "Pages: \(Units.count(pageRequests)) asked for, \(Units.count(pagesPushed)) sent unasked"
    if let requestMicroseconds {
      let median = Units.decimal(requestMicroseconds.p50, places: 0)
      let slowest = Units.decimal(requestMicroseconds.p99, places: 0)
      memory += "; a request took \(median) µs (median), \(slowest) µs (99th percentile)"
    }
    return [
      "\(running); all of its memory is there after \(Units.seconds(seconds)).", memory + ".",
    ]
  }

  /// The contract's fields; `running_ms` is null where the guest did not begin to run.
  var jsonMembers: [JSONMember] {
    [
      JSONMember("name", .string(name)),
      JSONMember("running_ms", runningMilliseconds.map(JSONValue.number) ?? .null),
      JSONMember("page_requests", JSONValue(pageRequests)),
      JSONMember("pages_pushed", JSONValue(pagesPushed)),
      JSONMember("request_us_p50", requestMicroseconds.map { .number($0.p50) } ?? .null),
      JSONMember("request_us_p99", requestMicroseconds.map { .number($0.p99) } ?? .null),
      JSONMember("seconds", .number(seconds)),
    ]
  }
}
