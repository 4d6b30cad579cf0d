// A sample of a move's progress as text: a bar for a terminal, a line for everything else.

import Endpoints
import JSON

extension MoveProgress {
  /// How much of the announced memory has been dealt with, from 0 to 1; nil before it is known.
  var fraction: Double? {
    guard let bytesTotal, bytesTotal > 0 else { return nil }
    return min(Double(bytesDone) / Double(bytesTotal), 1)
  }

  /// One line: phase, bytes, rate, dirty pages, time left.
  var line: String {
    "\(title): \(facts.joined(separator: ", "))"
  }

  /// One line that ends before `width` columns, with a bar where there is room for one.
  func bar(width: Int) -> String {
    let details = facts.joined(separator: ", ")
    guard let fraction else { return String("\(title): \(details)".prefix(max(width - 1, 0))) }
    // Brackets, the space behind them and the column that must stay free.
    let room = width - details.count - 4
    guard room >= 8 else { return String(details.prefix(max(width - 1, 0))) }
    let length = min(room, 30)
    let filled = Int(Double(length) * fraction)
    let bar = String(repeating: "=", count: filled) + String(repeating: " ", count: length - filled)
    return "[\(bar)] \(details)"
  }

  /// The sample as the members of a line of JSON.
  var members: [JSONMember] {
    var members: [JSONMember] = [
      JSONMember("event", "progress"), JSONMember("phase", .string(phase.rawValue)),
      JSONMember("bytes_done", JSONValue(bytesDone)),
    ]
    if let bytesTotal { members.append(JSONMember("bytes_total", JSONValue(bytesTotal))) }
    members.append(JSONMember("bytes_per_second", .number(bytesPerSecond.rounded())))
    if let dirtyPages { members.append(JSONMember("dirty_pages", JSONValue(dirtyPages))) }
    members.append(JSONMember("pages_zero", JSONValue(zeroPages)))
    members.append(JSONMember("page_requests", JSONValue(pageRequests)))
    if let secondsLeft { members.append(JSONMember("seconds_left", .number(secondsLeft))) }
    return members
  }

  private var title: String {
    switch phase {
    case .preparing: "preparing"
    case .memory: "memory"
    case .running: "running, memory follows"
    case .sealing: "finishing"
    }
  }

  private var facts: [String] {
    var facts: [String] = []
    if let bytesTotal, let fraction {
      let done = Units.size(bytesDone)
      facts.append("\(Units.percent(fraction)), \(done) of \(Units.size(bytesTotal))")
    } else {
      facts.append(Units.size(bytesDone))
    }
    if bytesPerSecond > 0 { facts.append(Units.rate(bytesPerSecond)) }
    if let dirtyPages { facts.append(Units.count(dirtyPages, "dirty page")) }
    if pageRequests > 0 { facts.append("\(Units.count(pageRequests, "page")) asked for") }
    if let secondsLeft, phase != .sealing { facts.append("\(Units.seconds(secondsLeft)) left") }
    return facts
  }
}
