// A sample of an operation's progress as text: a bar for a terminal, a line for everything else.

import CheckpointStore
import Endpoints
import JSON

/// How far an operation has come, whichever it is.
struct Progress {
  /// What it is doing, as a word of JSON.
  let phase: String
  /// What it is doing, for a person.
  let title: String
  /// Bytes dealt with.
  let bytesDone: UInt64
  /// Bytes there are, once that is known.
  let bytesTotal: UInt64?
  /// Bytes a second, at present.
  let bytesPerSecond: Double
  /// Seconds left at that rate, where that can be told.
  let secondsLeft: Double?
  /// What else there is to say about memory.
  var dirtyPages: UInt64?
  var pageRequests: UInt64?
  var zeroPages: UInt64?

  /// Progress of a move.
  init(_ progress: MoveProgress) {
    phase = progress.phase.rawValue
    title =
      switch progress.phase {
      case .preparing: "preparing"
      case .memory: "memory"
      case .running: "running, memory follows"
      case .sealing: "finishing"
      }
    bytesDone = progress.bytesDone
    bytesTotal = progress.bytesTotal
    bytesPerSecond = progress.bytesPerSecond
    secondsLeft = progress.phase == .sealing ? nil : progress.secondsLeft
    dirtyPages = progress.dirtyPages
    pageRequests = progress.pageRequests
    zeroPages = progress.zeroPages
  }

  /// Progress of an operation on the store, `seconds` after its start.
  init(_ word: String, _ progress: StoreProgress, after seconds: Double) {
    phase = word
    title = word
    bytesDone = progress.done
    bytesTotal = progress.total
    bytesPerSecond = seconds > 0 ? Double(progress.done) / seconds : 0
    let left = Double(progress.total) - Double(progress.done)
    secondsLeft = bytesPerSecond > 0 ? max(left, 0) / bytesPerSecond : nil
  }

  /// How much of the whole has been dealt with, from 0 to 1; nil before the whole is known.
  var fraction: Double? {
    guard let bytesTotal, bytesTotal > 0 else { return nil }
    return min(Double(bytesDone) / Double(bytesTotal), 1)
  }

  /// One line: phase, bytes, rate, dirty pages, time left.
  var line: String {
    let facts = facts
    return facts.isEmpty ? title : "\(title): \(facts.joined(separator: ", "))"
  }

  /// One line that ends before `width` columns, with a bar where there is room for one.
  func bar(width: Int) -> String {
    let details = facts.joined(separator: ", ")
    guard let fraction else { return String(line.prefix(max(width - 1, 0))) }
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
      JSONMember("phase", .string(phase)), JSONMember("bytes_done", JSONValue(bytesDone)),
    ]
    if let bytesTotal { members.append(JSONMember("bytes_total", JSONValue(bytesTotal))) }
    members.append(JSONMember("bytes_per_second", .number(bytesPerSecond.rounded())))
    if let dirtyPages { members.append(JSONMember("dirty_pages", JSONValue(dirtyPages))) }
    if let zeroPages { members.append(JSONMember("pages_zero", JSONValue(zeroPages))) }
    if let pageRequests { members.append(JSONMember("page_requests", JSONValue(pageRequests))) }
    if let secondsLeft { members.append(JSONMember("seconds_left", .number(secondsLeft))) }
    return members
  }

  private var facts: [String] {
    var facts: [String] = []
    if let bytesTotal, let fraction {
      let done = Units.size(bytesDone)
      facts.append("\(Units.percent(fraction)), \(done) of \(Units.size(bytesTotal))")
    } else if bytesDone > 0 {
      facts.append(Units.size(bytesDone))
    }
    if bytesPerSecond > 0 { facts.append(Units.rate(bytesPerSecond)) }
    if let dirtyPages { facts.append(Units.count(dirtyPages, "dirty page")) }
    if let pageRequests, pageRequests > 0 {
      facts.append("\(Units.count(pageRequests, "page")) asked for")
    }
    if let secondsLeft { facts.append("\(Units.seconds(secondsLeft)) left") }
    return facts
  }
}
