// A machine that comes back into what it left behind: nearly nothing travels, and at no instant can
// two of it run.

import Foundation
import JSON
import QEMULab
import Testing

/// A machine that has gone from one process to another, both of which are there.
private final class RoundTrip {
  let godwit: Godwit
  let home: OwnMachine
  let away: OwnMachine
  /// What the way there sent.
  let bytesThere: Int

  init(_ accelerator: String = "synthetic", rate: Int = 1, options: [String] = []) throws {
    godwit = try Godwit()
    home = try OwnMachine(godwit, accelerator: accelerator, rate: rate, options: options)
    away = try OwnMachine(
      godwit, isIncoming: true, accelerator: accelerator, rate: rate, options: options)
    try home.requireHealth()
    let result = try godwit.run(Self.words(home, away))
    bytesThere = result["wire_bytes"]?.int ?? 0
    try away.requireHealth()
    guard try home.status == "postmigrate", bytesThere > 16 << 20 else {
      throw LabError("the machine did not go: \(result)")
    }
  }

  static func words(_ source: OwnMachine, _ target: OwnMachine, _ way: [String] = []) -> [String] {
    ["migrate", "--from", source.qmpPath, "--to", target.qmpPath] + way
  }

  func comeBack(_ way: [String] = []) throws -> JSONValue {
    try godwit.run(Self.words(away, home, way))
  }

  /// What an attempt to let it run at home is told.
  func refusalAtHome() -> String {
    do {
      try home.qmp.execute("cont")
      return ""
    } catch {
      return "\(error)"
    }
  }
}

extension Interop {
  @Suite struct ReturnTests {
    @Test(
      .timeLimit(.minutes(3)), arguments: OwnMigrateTests.accelerators,
      [[], ["--postcopy"], ["--postcopy=now"]])
    func `a machine comes back nearly free, carries on, and goes and comes once more`(
      accelerator: String, way: [String]
    ) throws {
      let trip = try RoundTrip(accelerator, options: ["--share-memory"])
      let result = try trip.comeBack(way)
      #expect(result["status"] == "completed")
      #expect(result["pages_known"]?.int ?? 0 > 4096, "\(result)")
      let share = Double(result["wire_bytes"]?.int ?? .max) / Double(trip.bytesThere)
      #expect(share < 0.3, "the way back took \(share) of the way there: \(result)")
      try trip.home.requireHealth(reports: 3)
      #expect(try trip.away.status == "postmigrate")
      let again = try trip.godwit.run(RoundTrip.words(trip.home, trip.away, way))
      #expect(again["pages_known"]?.int ?? 0 > 4096, "\(again)")
      try trip.away.requireHealth(reports: 3)
      _ = try trip.comeBack(way)
      try trip.home.requireHealth(reports: 3)
    }

    @Test(.timeLimit(.minutes(2)), arguments: [[], ["--share-memory"]], [[], ["--postcopy"]])
    func `what comes back is the machine, byte for byte, with zeros for what was left out`(
      options: [String], way: [String]
    ) throws {
      // Memory that no other process can map is not filled while the machine runs.
      guard way.isEmpty || !options.isEmpty else { return }
      let trip = try RoundTrip(options: options)
      try trip.away.qmp.execute("stop")
      var memory = try trip.away.memory()
      let file = try ExclusionFile(byteCount: 2048, set: 1024..<1152)
      var way = way
      // What goes at once is not looked through first.
      if way.isEmpty {
        way = ["--exclude", file.path]
        memory.replaceSubrange(1024 * 8 * 4096..<1152 * 8 * 4096, with: Data(count: 1024 << 12))
      }
      let result = try trip.comeBack(way)
      #expect(result["running"] == false)
      #expect(try trip.home.status == "paused")
      #expect(try trip.home.memory() == memory)
      let share = Double(result["wire_bytes"]?.int ?? .max) / Double(trip.bytesThere)
      #expect(share < 0.3, "the way back took \(share) of the way there: \(result)")
    }

    @Test(.timeLimit(.minutes(2)))
    func `a way back that is broken off leaves the machine where it is, and home unable to run`()
      throws
    {
      let trip = try RoundTrip(rate: 40)
      let running = try trip.godwit.start(
        RoundTrip.words(trip.away, trip.home, ["--bandwidth", "4M"]))
      try trip.away.wait(for: "the way back to begin") {
        try trip.home.migrationStatus == "active"
      }
      #expect(try trip.home.status == "inmigrate")
      running.interrupt()
      #expect(try running.wait(seconds: 30) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("can take it another time"), "\(said)")
      try trip.away.requireHealth()
      #expect(try trip.away.status == "running")
      try trip.home.wait(for: "the end at home") { try trip.home.status == "postmigrate" }
      #expect(trip.refusalAtHome().contains("move it back once more"))
      #expect(try trip.home.status == "postmigrate")

      let result = try trip.comeBack(["--downtime", "300"])
      #expect(result["status"] == "completed")
      try trip.home.requireHealth()
      #expect(try trip.away.status == "postmigrate")
    }

    @Test(.timeLimit(.minutes(2)))
    func `home runs on by cont where the way back never began`() throws {
      let trip = try RoundTrip()
      try trip.home.qmp.execute(
        "migrate-incoming", ["uri": "unix:\(trip.home.qmpPath).in", "exit-on-error": false])
      #expect(try trip.home.status == "inmigrate")
      // As with any machine that waits: it says only what follows.
      try trip.home.qmp.execute("cont")
      #expect(try trip.home.status == "inmigrate")
      try trip.away.qmp.execute("stop")
      try trip.away.qmp.execute(
        "migrate", ["uri": "unix:\(trip.home.qmpPath).in"])
      // Without the capability nothing says that pages are known: it is an ordinary move.
      try trip.home.wait(for: "the machine") { try trip.home.migrationStatus == "completed" }
      #expect(try trip.home.status == "paused")
      #expect(try trip.home.memory() == trip.away.memory())
      try trip.home.qmp.execute("cont")
      try trip.home.requireHealth()
    }

    @Test(.timeLimit(.minutes(2)))
    func `what was only saved is not written over`() throws {
      let godwit = try Godwit()
      let machine = try OwnMachine(godwit, accelerator: "synthetic")
      try machine.requireHealth()
      let save = ["save", "--qmp", machine.qmpPath, "--name", "one", "--then", "pause"]
      try godwit.run(save)
      #expect(try machine.status == "postmigrate")
      let other = try OwnMachine(godwit, accelerator: "synthetic")
      try other.requireHealth()
      let said = try godwit.refuse(RoundTrip.words(other, machine))
      #expect(said.contains("this may be the only one"), "\(said)")
      try other.requireHealth()
      try machine.qmp.execute("cont")
      try machine.requireHealth()
    }
  }
}
