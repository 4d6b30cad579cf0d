// One move of a running machine on which something dies: what is left must be one machine, whole.

import DemoGuest
import Foundation
import JSON
import QEMULab

/// Two machines of Godwit's own, a move from one to the other, and a fault at some instant of it.
///
/// The move begins as a precopy of a second; a postcopy follows where ``Plan/postcopyAfter`` says
/// so. One thread at a time.
final class LiveTrial {
  /// What dies.
  enum Victim: String, CaseIterable {
    case destination, pager, link, source
  }

  /// What the dice said.
  struct Plan {
    var accelerator = "kvm"
    var victim = Victim.link
    /// When memory is to follow the machine, in seconds; nil for a precopy to its end.
    var postcopyAfter: Double?
    /// Whether the machine stands still, so that its memory can be compared byte for byte.
    var standsStill = false
    /// When the fault strikes, in seconds from the move's beginning.
    var faultAfter = 0.0
    /// Whether requested pages have a connection of their own.
    var usesPreempt = false
    /// How many links of recoveries break too, each after so many seconds.
    var furtherFaults: [Double] = []

    /// What it is counted under.
    var name: String {
      let way =
        switch postcopyAfter {
        case .some(0): "postcopy"
        case .some: "both in turn"
        case nil: "precopy"
        }
      if usesPreempt { return "\(way) with preempt, \(victim.rawValue) dies" }
      return "\(way), \(victim.rawValue) dies"
    }
  }

  /// How the machine fared.
  enum Outcome: String {
    /// It never left.
    case staysAtSource = "runs on at the source"
    /// Nobody could know whether it runs there; it does not, and here it can be continued.
    case continuedAtSource = "stopped at the source, which says so; continued there"
    /// It arrived in spite of the fault, or before it.
    case arrived = "runs at the destination"
    /// A recovery carried it over.
    case recovered = "recovered, runs at the destination"
    /// The fault killed the process that ran it, after it had left.
    case ownEnd = "was in the process that was killed"
    /// It ran at the destination, and the memory that it lacked died with the source.
    case halfEnded = "ran at the destination, the rest of its memory was in the killed process"
  }

  private static let megabytes = 32
  private static let patience = 30.0
  /// Each further fault breaks one recovery, and a pager may be hit before it has begun.
  private static let recoveryLimit = 6

  private static func capabilities(of plan: Plan) -> [String] {
    ["return-path", "postcopy-ram", "events"] + (plan.usesPreempt ? ["postcopy-preempt"] : [])
  }

  let plan: Plan
  private let source: OwnMachine
  private let target: OwnMachine
  private var link: CutProxy
  private var paths: [String] = []
  private var recoveries = 0
  private var reference: Data?

  init(_ plan: Plan, _ godwit: Godwit) throws {
    self.plan = plan
    source = try OwnMachine(
      godwit, megabytes: Self.megabytes, accelerator: plan.accelerator,
      options: ["--demo-check", "\(Self.megabytes)"])
    target = try OwnMachine(
      godwit, isIncoming: true, megabytes: Self.megabytes, accelerator: plan.accelerator,
      options: ["--demo-check", "\(Self.megabytes)"])
    let path = Self.socketPath()
    paths = [path]
    try target.qmp.setCapabilities(Self.capabilities(of: plan))
    try target.qmp.execute("migrate-incoming", ["uri": .string("unix:" + path)])
    link = try CutProxy(to: path)
    for machine in [source, target] { machine.qmp.setPatience(seconds: Int(Self.patience)) }
  }

  deinit {
    link.cut()
    for path in paths { try? FileManager.default.removeItem(atPath: path) }
  }

  private static func socketPath() -> String {
    NSTemporaryDirectory() + "gwlive-\(UUID().uuidString.prefix(8))"
  }

  /// What is known of both, for a failure's message.
  var state: String {
    func tell(_ name: String, _ machine: OwnMachine) -> String {
      machine.qmp.setPatience(seconds: 5)
      let status = (try? machine.status) ?? "gone"
      let migration = (try? machine.qmp.execute("query-migrate")).map { "\($0)" } ?? "gone"
      return "\(name): \(status), \(migration), \(machine.reports.suffix(2)) \(machine.said)"
    }
    return "\(plan); \(tell("source", source)); \(tell("destination", target))"
  }

  /// Pages that any of the guests found not to hold what they should.
  var badPageCount: UInt64 {
    [source, target].reduce(0) { $0 + ($1.reports.map(\.bad).max() ?? 0) }
  }

  // MARK: The move

  /// Moves the machine, lets the fault strike and brings the machine to where it goes on.
  func run() throws -> Outcome {
    try source.requireHealth(reports: 1, seconds: Self.patience)
    if plan.standsStill {
      try source.qmp.execute("stop")
      reference = try source.memory(megabytes: Self.megabytes)
      // As with QEMU, a machine that goes ahead of its memory runs unless the destination says no.
      try target.qmp.execute("stop")
    }
    try source.qmp.setCapabilities(Self.capabilities(of: plan))
    try source.qmp.execute(
      "migrate-set-parameters",
      ["max-bandwidth": JSONValue(32 << 20), "max-postcopy-bandwidth": JSONValue(16 << 20)])
    try source.qmp.execute("migrate", ["uri": .string("unix:" + link.path)])
    try passTheTime()
    strike(plan.victim)
    let outcome = try settle()
    guard let survivor = survivor(of: outcome) else { return outcome }
    try requireAllMemory(of: survivor)
    return outcome
  }

  /// Until the fault: the switch to postcopy falls into this time, or after it.
  private func passTheTime() throws {
    let began = Date()
    func sleep(until instant: Double) {
      usleep(UInt32(max(0, instant - Date().timeIntervalSince(began)) * 1e6))
    }
    if let instant = plan.postcopyAfter, instant <= plan.faultAfter {
      sleep(until: instant)
      // Where the move is over already it is refused, and nothing is missed.
      _ = try? source.qmp.execute("migrate-start-postcopy")
    }
    sleep(until: plan.faultAfter)
  }

  private func strike(_ victim: Victim) {
    switch victim {
    case .destination: target.kill()
    case .source: source.kill()
    case .link: link.cut()
    // Where there is none any more, the move is over.
    case .pager: if let pager = target.pager { kill(pager, SIGKILL) }
    }
  }

  // MARK: What became of it

  private func settle() throws -> Outcome {
    if plan.victim == .source { return try afterSource() }
    var further = plan.furtherFaults[...]
    while true {
      let status = try sourceEnd()
      try requireOneAtMost()
      switch status {
      case "completed":
        guard target.isRunning else { return .ownEnd }
        try target.wait(for: "the machine's arrival", seconds: Self.patience) {
          try target.migrationStatus == "completed"
        }
        return recoveries > 0 ? .recovered : .arrived
      case "postcopy-paused":
        guard target.isRunning, try targetEnd() != "failed" else { return try afterPostcopy() }
        if try target.migrationStatus == "completed" { return .arrived }
        try recover(breakingAfter: further.popFirst())
      default:
        return try afterFailure()
      }
    }
  }

  /// What the destination has is all there is.
  private func afterSource() throws -> Outcome {
    switch try targetEnd() {
    case "completed": .arrived
    case "postcopy-paused": .halfEnded
    default: .ownEnd
    }
  }

  /// Waits until the source is done, or has done what it can.
  private func sourceEnd() throws -> String {
    var status = ""
    try source.wait(for: "the source's end of the move", seconds: Self.patience) {
      status = try source.migrationStatus
      return ["completed", "failed", "cancelled", "postcopy-paused"].contains(status)
    }
    return status
  }

  /// Waits until the destination notices too; "failed" where it ended.
  private func targetEnd() throws -> String {
    let deadline = Date(timeIntervalSinceNow: Self.patience)
    // One that nobody ever came to has noticed nothing, and waits.
    while target.isRunning, link.hasReachedTarget || recoveries > 0, Date() < deadline {
      // A machine that is about to end may be gone between two looks.
      guard let status = try? target.migrationStatus else { continue }
      if ["completed", "failed", "postcopy-paused"].contains(status) { return status }
      usleep(5000)
    }
    guard !target.isRunning || !(link.hasReachedTarget || recoveries > 0) else {
      throw LabError("the destination notices nothing: \(state)")
    }
    return "failed"
  }

  /// The source failed before it counted on the destination.
  private func afterFailure() throws -> Outcome {
    let status = try source.status
    if status == "running" {
      guard try targetEnd() == "failed" else { throw LabError("two machines: \(state)") }
      return .staysAtSource
    }
    guard status == "paused" else {
      throw LabError("the source neither runs nor can: \(state)")
    }
    if target.isRunning, try targetEnd() == "completed" { return .arrived }
    if plan.standsStill { return .staysAtSource }
    return try continueAtSource()
  }

  /// The source counts on a destination that is not there.
  private func afterPostcopy() throws -> Outcome {
    // Only a process that was killed takes a machine along.
    if plan.victim == .destination, !target.isRunning {
      let hadArrived = target.hadRun || !source.knowsNothing
      if hadArrived { return .ownEnd }
    }
    return try continueAtSource()
  }

  /// Does what the source's own words advise: it is known that the machine does not run there.
  private func continueAtSource() throws -> Outcome {
    guard !source.failure.isEmpty else { throw LabError("the source gives no reason: \(state)") }
    do {
      if try source.migrationStatus == "postcopy-paused" {
        try source.qmp.execute("migrate_cancel")
      }
      if !plan.standsStill { try source.qmp.execute("cont") }
    } catch {
      throw LabError("no machine is left: \(error); \(state)")
    }
    return .continuedAtSource
  }

  private func recover(breakingAfter seconds: Double?) throws {
    recoveries += 1
    guard recoveries <= Self.recoveryLimit else { throw LabError("no recovery works: \(state)") }
    let path = Self.socketPath()
    paths.append(path)
    link.cut()
    try target.qmp.execute("migrate-recover", ["uri": .string("unix:" + path)])
    try target.wait(for: "the listener") { FileManager.default.fileExists(atPath: path) }
    link = try CutProxy(to: path)
    try source.qmp.execute(
      "migrate", ["uri": .string("unix:" + link.path), "resume": true])
    guard let seconds else { return }
    usleep(UInt32(seconds * 1e6))
    strike(plan.victim == .pager ? .pager : .link)
  }

  // MARK: What must be so

  /// The machine runs here or there, or nowhere; never in both.
  private func requireOneAtMost() throws {
    guard source.isRunning, target.isRunning, try source.status == "running",
      let there = try? target.status
    else { return }
    guard there != "running" else { throw LabError("two machines run: \(state)") }
  }

  private func survivor(of outcome: Outcome) -> OwnMachine? {
    switch outcome {
    case .staysAtSource, .continuedAtSource: source
    case .arrived, .recovered: target
    case .ownEnd, .halfEnded: nil
    }
  }

  /// Waits until the guest has gone through all of its memory once more, and found it whole.
  private func requireAllMemory(of machine: OwnMachine) throws {
    if let reference {
      guard try machine.memory(megabytes: Self.megabytes) == reference else {
        throw LabError("its memory is not what it was: \(state)")
      }
      try machine.qmp.execute("cont")
    }
    try machine.requireHealth(reports: 1, seconds: Self.patience)
    try requireOneAtMost()
    let first = machine.reports.last?.checked ?? 0
    try machine.wait(for: "a look at all memory", seconds: Self.patience) {
      (machine.reports.last?.checked ?? 0) >= first + UInt64(Self.megabytes << 8)
    }
    guard badPageCount == 0 else { throw LabError("\(badPageCount) pages are wrong: \(state)") }
  }
}

extension OwnMachine {
  /// Why its migration failed, in its own words.
  var failure: String {
    (try? qmp.execute("query-migrate"))?["error-desc"]?.string ?? ""
  }

  /// Whether its guest has said anything.
  fileprivate var hadRun: Bool { !reports.isEmpty }

  /// Whether it cannot tell if its machine runs elsewhere.
  fileprivate var knowsNothing: Bool { failure.contains("is unknown") }
}
