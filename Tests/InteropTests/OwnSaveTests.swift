// Running machines of Godwit's own into the store: copied while they write, stopped for a moment.

import DemoGuest
import Foundation
import JSON
import QEMULab
import Testing

extension Interop {
  @Suite struct OwnSaveTests {
    /// What runs a machine and what notices its writes; nil for what this host would choose.
    struct Kind: CustomTestStringConvertible {
      let accelerator: String
      var dirtyLog: String?

      var options: [String] { dirtyLog.map { ["--dirty-log", $0] } ?? [] }
      var testDescription: String { accelerator + (dirtyLog.map { ", \($0)" } ?? "") }
    }

    static let kinds =
      (OwnMachine.isPossible ? [Kind(accelerator: "kvm")] : []) + [Kind(accelerator: "synthetic")]

    static let kindsOfLog =
      OwnMachine.isPossible
      ? ["bitmap", "clear", "ring", "write-protect"].map {
        Kind(accelerator: "kvm", dirtyLog: $0)
      } : []

    private static func source(
      _ godwit: Godwit, _ kind: Kind, rate: Int = 16, options: [String] = []
    ) throws -> OwnMachine {
      let machine = try OwnMachine(
        godwit, accelerator: kind.accelerator, rate: rate, options: kind.options + options)
      try machine.requireHealth()
      return machine
    }

    private static func requireLive(_ saved: JSONValue) throws {
      #expect(saved["mode"] == "precopy", "\(saved)")
      let downtime = try #require(saved["downtime_ms"]?.double)
      let seconds = try #require(saved["seconds"]?.double)
      #expect(downtime > 0)
      // The limit of 300 ms and what a busy host adds; a copy that stood still would be all of it.
      #expect(downtime < max(1000, seconds * 500), "\(saved)")
    }

    @Test(.timeLimit(.minutes(5)), arguments: kinds + kindsOfLog)
    func `a machine is saved while it writes, runs on, and so does its copy`(kind: Kind) throws {
      let godwit = try Godwit()
      let source = try Self.source(godwit, kind)
      let settings = try source.qmp.execute("query-migrate-parameters")
      let before = try #require(source.reports.last)
      let saved = try godwit.run(["save", "--qmp", source.qmpPath, "--name", "one"])
      try Self.requireLive(saved)
      #expect(try source.status == "running")
      #expect(try source.qmp.execute("query-migrate-parameters") == settings)
      let target = try OwnMachine(godwit, isIncoming: true, accelerator: kind.accelerator)
      try godwit.run(["restore", "one", "--qmp", target.qmpPath])
      #expect(try target.status == "running")
      try target.requireHealth(reports: 4)
      try source.requireHealth(reports: 4)
      #expect(try #require(target.reports.first).written > before.written, "it is of the end")
    }

    @Test(.timeLimit(.minutes(5)), arguments: kinds + kindsOfLog)
    func `what was saved while it ran is the memory of the moment it stopped`(kind: Kind) throws {
      let godwit = try Godwit()
      let source = try Self.source(godwit, kind)
      let saved = try godwit.run([
        "save", "--qmp", source.qmpPath, "--name", "one", "--then", "pause",
      ])
      #expect(saved["mode"] == "precopy", "\(saved)")
      #expect(saved["downtime_ms"] == .null, "it has not gone on")
      #expect(try source.status == "postmigrate")
      let target = try OwnMachine(
        godwit, isIncoming: true, accelerator: kind.accelerator, options: ["--paused"])
      try godwit.run(["restore", "one", "--qmp", target.qmpPath, "--eager"])
      #expect(try target.status == "paused")
      #expect(try target.memory() == source.memory())
      for machine in [source, target] { try machine.qmp.execute("cont") }
      for machine in [source, target] { try machine.requireHealth() }
    }

    @Test(.timeLimit(.minutes(5)), arguments: kinds)
    func `a machine is saved again and again, paused where it is asked for, and then quits`(
      kind: Kind
    ) throws {
      let godwit = try Godwit()
      let source = try Self.source(godwit, kind)
      for (name, way, mode) in [
        ("one", [], "precopy"), ("two", ["--paused"], "paused"),
        ("three", ["--precopy"], "precopy"),
      ] as [(String, [String], JSONValue)] {
        let saved = try godwit.run(["save", "--qmp", source.qmpPath, "--name", name] + way)
        #expect(saved["mode"] == mode, "\(saved)")
        #expect(try #require(saved["downtime_ms"]?.double) > 0)
        try source.requireHealth(reports: 1)
      }
      let words = try godwit.refuse(["save", "--qmp", source.qmpPath, "--name", "n", "--live"])
      #expect(words.contains("Leave out --live"), "\(words)")
      try source.requireHealth(reports: 1)
      try godwit.run(["save", "--qmp", source.qmpPath, "--name", "four", "--then", "quit"])
      try wait("its end") { !source.isRunning }
      #expect(try godwit.names().sorted() == ["four", "one", "three", "two"])
    }

    @Test(.timeLimit(.minutes(5)), arguments: kinds)
    func `a save that is cancelled leaves the machine running and nothing in the store`(
      kind: Kind
    ) throws {
      let godwit = try Godwit()
      let source = try Self.source(godwit, kind)
      let settings = try source.qmp.execute("query-migrate-parameters")
      let saving = try godwit.start(["save", "--qmp", source.qmpPath, "--name", "one"])
      try source.wait(for: "the first round") { try source.migrationStatus == "active" }
      saving.interrupt()
      let status = try saving.wait(seconds: 30)
      // It may have been through just before.
      #expect(try godwit.names() == (status == 0 ? ["one"] : []))
      #expect(try source.status == "running")
      #expect(try source.qmp.execute("query-migrate-parameters") == settings)
      try source.requireHealth()
    }

    @Test(.timeLimit(.minutes(5)), .enabled(if: OwnMachine.isPossible, "needs /dev/kvm"))
    func `a machine that writes to a disk is not saved to run on, unless one says so`() throws {
      let godwit = try Godwit()
      let disk = NSTemporaryDirectory() + "gwdisk-\(UUID().uuidString.prefix(8))"
      try Data(count: 1 << 20).write(to: URL(fileURLWithPath: disk))
      defer { try? FileManager.default.removeItem(atPath: disk) }
      let source = try Self.source(
        godwit, Kind(accelerator: "kvm"), options: ["--disk", disk])
      let save = ["save", "--qmp", source.qmpPath, "--name"]
      let words = try godwit.refuse(save + ["one"])
      for choice in ["--then pause", "--then quit", "--disks ignore"] {
        #expect(words.contains(choice), "\(words)")
      }
      try source.requireHealth(reports: 1)
      try Self.requireLive(try godwit.run(save + ["two", "--disks", "ignore"]))
      let saved = try godwit.run(save + ["three", "--then", "pause"])
      #expect(saved["mode"] == "precopy", "\(saved)")
      #expect(try source.status == "postmigrate")
    }

    private func wait(_ what: String, _ isReached: () -> Bool) throws {
      let end = ContinuousClock.now + .seconds(30)
      while !isReached() {
        guard ContinuousClock.now < end else { throw LabError("\(what) does not come") }
        usleep(5000)
      }
    }
  }
}
