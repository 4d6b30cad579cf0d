// From one machine of Godwit's own to another, running: the same command, the same promises.

import DemoGuest
import Foundation
import JSON
import QEMULab
import Testing

/// A machine at work and another that waits for it.
private final class OwnMove {
  let godwit: Godwit
  let source: OwnMachine
  let target: OwnMachine

  init(_ accelerator: String, rate: Int = 4) throws {
    godwit = try Godwit()
    source = try OwnMachine(godwit, accelerator: accelerator, rate: rate)
    target = try OwnMachine(godwit, isIncoming: true, accelerator: accelerator, rate: rate)
    try source.requireHealth()
  }

  func words(_ options: [String]) -> [String] {
    ["migrate", "--from", source.qmpPath, "--to", target.qmpPath] + options
  }

  func settings() throws -> [String] {
    try [source, target].flatMap {
      [
        "\(try $0.qmp.execute("query-migrate-capabilities"))",
        "\(try $0.qmp.execute("query-migrate-parameters"))",
      ]
    }
  }

  /// Sees the guest carry on at the destination and nowhere else.
  func requireArrival() throws {
    try target.requireHealth(reports: 3)
    guard let last = source.reports.last, let first = target.reports.first,
      first.t >= last.t, first.written >= last.written
    else { throw LabError("the guest did not carry on: \(source.reports) \(target.reports)") }
    guard try source.status == "postmigrate" else { throw LabError("the machine is twice") }
  }

  /// Sees the guest go on at the source and nowhere else.
  func requireStay() throws {
    try source.requireHealth()
    guard try source.status == "running" else { throw LabError("the source does not run") }
    guard !target.isRunning || (try? target.status) != "running" else {
      throw LabError("the machine runs twice")
    }
  }

  /// Starts a move and waits until the source is in one of these states.
  func start(_ options: [String], until states: Set<String>) throws -> RunningGodwit {
    let running = try godwit.start(words(options))
    try source.wait(for: "the move to be \(states)") {
      guard running.isRunning else { throw LabError("it ended: \(running.output)") }
      return states.contains(try source.migrationStatus)
    }
    return running
  }
}

extension Interop {
  @Suite struct OwnMigrateTests {
    /// What this host can run machines with.
    static let accelerators = (OwnMachine.isPossible ? ["kvm"] : []) + ["synthetic"]

    @Test(
      .timeLimit(.minutes(3)), arguments: accelerators,
      [[], ["--postcopy"], ["--postcopy=now"], ["--paused"], ["--paused", "--postcopy"]])
    func `a machine moves and carries on with every page whole`(
      accelerator: String, way: [String]
    ) throws {
      let move = try OwnMove(accelerator)
      let before = try move.settings()
      let result = try move.godwit.run(move.words(way))
      #expect(result["status"] == "completed")
      #expect(result["running"] == true)
      #expect(result["ram_bytes"]?.uint64 ?? 0 >= 64 << 20)
      #expect(result["wire_bytes"]?.uint64 ?? 0 > 16 << 20)
      let downtime = try #require(result["downtime_ms"]?.double)
      #expect(downtime > 0 && downtime < 30_000)
      if way.contains("--postcopy=now") { #expect(result["mode"] == "postcopy") }
      try move.requireArrival()
      #expect(try move.settings() == before, "settings were not put back")
    }

    @Test(
      .timeLimit(.minutes(2)), arguments: accelerators,
      [[], ["--postcopy"], ["--postcopy=now"]])
    func `a machine that stands still arrives byte for byte, and stands still`(
      accelerator: String, way: [String]
    ) throws {
      let move = try OwnMove(accelerator)
      try move.source.qmp.execute("stop")
      let memory = try move.source.memory()
      let result = try move.godwit.run(move.words(way))
      #expect(result["running"] == false)
      #expect(result["downtime_ms"] == .null)
      #expect(try move.target.status == "paused")
      #expect(try move.target.memory() == memory)
      try move.target.qmp.execute("cont")
      try move.requireArrival()
    }

    @Test(.timeLimit(.minutes(2)), arguments: accelerators)
    func `a move without an end says so and what would help, and Ctrl-C leaves the machine`(
      accelerator: String
    ) throws {
      let move = try OwnMove(accelerator, rate: 60)
      let before = try move.settings()
      let running = try move.godwit.start(
        move.words(["--bandwidth", "15M", "--downtime", "5"]))
      try move.source.wait(for: "the forecast", seconds: 60) {
        running.events.contains { $0["message"]?.string?.contains("not converge") == true }
      }
      running.interrupt()
      #expect(try running.wait(seconds: 20) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("cancelled") && said.contains("runs on at"), "\(said)")
      try move.requireStay()
      #expect(try move.settings() == before, "settings were not put back")
    }

    @Test(.timeLimit(.minutes(3)), arguments: accelerators)
    func `a postcopy whose link breaks is carried on by --recover`(accelerator: String) throws {
      let move = try OwnMove(accelerator)
      let before = try move.settings()
      let running = try move.start(
        ["--postcopy=now", "--bandwidth", "8M"], until: ["postcopy-active"])
      try move.target.wait(for: "the machine to run there") { try move.target.status == "running" }
      for end in [move.source, move.target] {
        let capabilities = try end.qmp.execute("query-migrate-capabilities").array ?? []
        let preempt = capabilities.first { $0["capability"] == "postcopy-preempt" }
        #expect(preempt?["state"] == true)
      }
      try move.source.qmp.execute("migrate-pause")
      #expect(try running.wait(seconds: 30) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("--recover"), "\(said)")
      let result = try move.godwit.run(move.words(["--recover"]))
      #expect(result["status"] == "completed")
      #expect(result["mode"] == "postcopy")
      try move.requireArrival()
      #expect(try move.settings() == before, "settings were not put back")
    }

    @Test(.timeLimit(.minutes(2)), arguments: accelerators, [[], ["--paused"]])
    func `a destination that dies on the way leaves the machine at the source`(
      accelerator: String, way: [String]
    ) throws {
      let move = try OwnMove(accelerator)
      let running = try move.start(way + ["--bandwidth", "8M"], until: ["active"])
      move.target.kill()
      #expect(try running.wait(seconds: 30) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("runs on at \(move.source.qmpPath)"), "\(said)")
      try move.requireStay()
    }
  }
}
