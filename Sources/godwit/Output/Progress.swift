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
  /// How much has been dealt with.
  let done: UInt64
  /// How much there is, once that is known.
  let total: UInt64?
  /// How much a second, at present.
  let rate: Double
  /// Seconds left at that rate, where that can be told.
  let secondsLeft: Double?
  /// Whether all of these count bytes; otherwise steps, which say nothing but the fraction.
  let countsBytes: Bool
  /// What else there is to say about memory.
  var dirtyPages: UInt64?
  var pageRequests: UInt64?
  var zeroPages: UInt64?
  var normalPages: UInt64?
  var excludedPages: UInt64?
  var round: UInt64?
  var dirtyRate: Double?
  var converges = true

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
    done = progress.bytesDone
    total = progress.bytesTotal
    rate = progress.bytesPerSecond
    countsBytes = true
    secondsLeft = progress.phase == .sealing ? nil : progress.secondsLeft
    dirtyPages = progress.dirtyPages
    pageRequests = progress.pageRequests
    zeroPages = progress.zeroPages
    normalPages = progress.normalPages
    excludedPages = progress.excludedPages
    round = progress.round
    dirtyRate = progress.dirtyBytesPerSecond
    converges = progress.converges
  }

  /// Progress of an operation on the store or on a file, `seconds` after its start.
  init(_ word: String, _ progress: StoreProgress, countsBytes: Bool, after seconds: Double) {
    phase = word
    title = word
    done = progress.done
    total = progress.total
    rate = seconds > 0 ? Double(progress.done) / seconds : 0
    self.countsBytes = countsBytes
    let left = Double(progress.total) - Double(progress.done)
    secondsLeft = rate > 0 ? max(left, 0) / rate : nil
  }

  /// How much of the whole has been dealt with, from 0 to 1; nil before the whole is known.
  var fraction: Double? {
    guard let total, total > 0 else { return nil }
    return min(Double(done) / Double(total), 1)
  }

  /// One line: phase, bytes, rate, dirty pages, time left.
  var line: String {
    let facts = facts
    return facts.isEmpty ? title : "\(title): \(facts.joined(separator: ", "))"
  }

  /// One line that ends before `width` columns, with a bar where there is room for one.
  ///
  /// The bar's length depends on the width alone, so that it does not jump from sample to sample.
  func bar(width: Int) -> String {
    guard let fraction, width >= 60 else { return String(line.prefix(max(width - 1, 0))) }
    let length = min(max(width - 68, 8), 30)
    let filled = Int(Double(length) * fraction)
    let bar = String(repeating: "=", count: filled) + String(repeating: " ", count: length - filled)
    let details = facts.joined(separator: ", ").replacing(" pages", with: "")
    return String("[\(bar)] \(details)".prefix(width - 1))
  }

  /// The sample as the members of a line of JSON.
  var members: [JSONMember] {
    let unit = countsBytes ? "bytes" : "steps"
    var members: [JSONMember] = [
      JSONMember("phase", .string(phase)), JSONMember("\(unit)_done", JSONValue(done)),
    ]
    if let total { members.append(JSONMember("\(unit)_total", JSONValue(total))) }
    if countsBytes { members.append(JSONMember("bytes_per_second", .number(rate.rounded()))) }
    if let dirtyPages { members.append(JSONMember("dirty_pages", JSONValue(dirtyPages))) }
    if let zeroPages { members.append(JSONMember("pages_zero", JSONValue(zeroPages))) }
    if let pageRequests { members.append(JSONMember("page_requests", JSONValue(pageRequests))) }
    if let normalPages { members.append(JSONMember("pages_normal", JSONValue(normalPages))) }
    if let excludedPages { members.append(JSONMember("pages_excluded", JSONValue(excludedPages))) }
    if let round { members.append(JSONMember("round", JSONValue(round))) }
    if let dirtyRate {
      members.append(JSONMember("dirty_bytes_per_second", .number(dirtyRate.rounded())))
    }
    if let secondsLeft { members.append(JSONMember("seconds_left", .number(secondsLeft))) }
    if !converges { members.append(JSONMember("converges", false)) }
    return members
  }

  private var facts: [String] {
    var facts: [String] = []
    if let fraction { facts.append(Units.percent(fraction)) }
    if countsBytes {
      if let total {
        facts.append("\(Units.size(done)) of \(Units.size(total))")
      } else if done > 0 {
        facts.append(Units.size(done))
      }
      if rate > 0 { facts.append(Units.rate(rate)) }
    }
    if let round, round > 0 { facts.append("round \(round)") }
    // Of a move, done and total say as much.
    if let dirtyPages, round == nil { facts.append(Units.count(dirtyPages, "dirty page")) }
    if let pageRequests, pageRequests > 0 {
      facts.append("\(Units.count(pageRequests, "page")) asked for")
    }
    if let dirtyRate { facts.append("guest writes \(Units.rate(dirtyRate))") }
    if let secondsLeft { facts.append("\(Units.seconds(secondsLeft)) left") }
    if !converges { facts.append("not converging") }
    return facts
  }
}
