// To an endpoint on another host, which is this one behind an sshd of the test's own.

import DemoGuest
import Foundation
import JSON
import QEMULab
import Testing

/// What a move over ssh needs beside its two ends.
private final class Way {
  let ssh: LabSSH
  /// Takes what `godwit` leaves behind while it runs.
  let temporary: String

  init() throws {
    ssh = try LabSSH()
    temporary = NSTemporaryDirectory() + "gwtmp-\(UUID().uuidString.prefix(8))"
    try FileManager.default.createDirectory(atPath: temporary, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(atPath: temporary) }

  func environment(_ configuration: String = "config") -> [String: String] {
    ["GODWIT_SSH": ssh.command(configuration), "TMPDIR": temporary]
  }

  /// Sees that neither an ssh nor a file is left over.
  func requireNothingLeft() throws {
    try ssh.requireNoClients()
    let left = try FileManager.default.contentsOfDirectory(atPath: temporary)
    guard left.isEmpty else { throw LabError("left over: \(left)") }
  }
}

/// A machine of Godwit's own at work, and another "elsewhere" that waits for it.
private final class RemoteMove {
  static let accelerator = OwnMachine.isPossible ? "kvm" : "synthetic"

  let way: Way
  let godwit: Godwit
  let source: OwnMachine
  let target: OwnMachine

  init() throws {
    way = try Way()
    godwit = try Godwit()
    source = try OwnMachine(godwit, accelerator: Self.accelerator)
    target = try OwnMachine(godwit, isIncoming: true, accelerator: Self.accelerator)
    try source.requireHealth(reports: 1)
  }

  var address: String { "\(way.ssh.host):\(target.qmpPath)" }

  func words(_ options: [String] = []) -> [String] {
    ["migrate", "--from", source.qmpPath, "--to", address] + options
  }

  /// Starts a move and waits until the source is in one of these states.
  func start(_ options: [String], until states: Set<String>) throws -> RunningGodwit {
    let running = try godwit.start(words(options), environment: way.environment(), isJob: true)
    try source.wait(for: "the move to be \(states)") {
      guard running.isRunning else { throw LabError("it ended: \(running.output)") }
      return states.contains(try source.migrationStatus)
    }
    return running
  }

  func requireArrival() throws {
    try target.requireHealth(reports: 1)
    guard let last = source.reports.last, let first = target.reports.first,
      first.t >= last.t, first.written >= last.written
    else { throw LabError("the guest did not carry on: \(source.reports) \(target.reports)") }
    guard try source.status == "postmigrate" else { throw LabError("the machine is twice") }
  }

  func requireStay() throws {
    try source.requireHealth(reports: 1)
    guard try source.status == "running" else { throw LabError("the source does not run") }
    guard (try? target.status) != "running" else { throw LabError("the machine runs twice") }
  }
}

extension Interop {
  @Suite(
    .enabled(if: LabSSH.objection == nil, "\(LabSSH.objection ?? "")"), .timeLimit(.minutes(2)))
  struct RemoteMigrateTests {
    @Test(arguments: [[], ["--postcopy"]])
    func `a machine of Godwit's own moves to another host`(way: [String]) throws {
      let move = try RemoteMove()
      let page = move.godwit.store + "/move.html"
      let result = try move.godwit.run(
        move.words(way + ["--report", page]), environment: move.way.environment())
      #expect(result["status"] == "completed")
      #expect(result["running"] == true)
      let downtime = try #require(result["downtime_ms"]?.double)
      #expect(downtime > 0 && downtime < 30_000)
      #expect(result["mode"] == (way.isEmpty ? "precopy" : "postcopy"))
      try move.requireArrival()
      #expect(try String(contentsOfFile: page, encoding: .utf8).contains(move.address))
      try move.way.requireNothingLeft()
      #expect(!FileManager.default.fileExists(atPath: move.target.qmpPath + ".move"))
    }

    @Test func `a machine that stands still arrives byte for byte`() throws {
      let move = try RemoteMove()
      try move.source.qmp.execute("stop")
      let memory = try move.source.memory()
      let result = try move.godwit.run(move.words(), environment: move.way.environment())
      #expect(result["running"] == false)
      #expect(try move.target.status == "paused")
      #expect(try move.target.memory() == memory)
    }

    @Test(arguments: QEMU.all(.x86_64))
    func `a guest of QEMU's moves to another host with every page whole`(qemu: QEMU) throws {
      let way = try Way()
      let guest = try MovingGuest(from: qemu)
      // What an endpoint that was killed has left there is no hindrance.
      try LabSSH.leaveSocket(at: guest.destination.qmpPath + ".move")
      let options = Move.isSound(qemu) ? [] : ["--paused"]
      let last = guest.source.reports.last
      let result = try guest.godwit.run(
        [
          "migrate", "--from", guest.source.qmpPath, "--to",
          "\(way.ssh.host):\(guest.destination.qmpPath)",
        ] + options, environment: way.environment())
      #expect(result["status"] == "completed")
      #expect(result["mode"] == (options.isEmpty ? "precopy" : "paused"))
      try guest.requireArrival(after: last)
      try way.requireNothingLeft()
    }

    @Test(arguments: QEMU.all(.x86_64))
    func `a QEMU whose ssh dies in postcopy is carried on over another`(qemu: QEMU) throws {
      let way = try Way()
      let guest = try MovingGuest(from: qemu)
      let last = guest.source.reports.last
      let words = [
        "migrate", "--from", guest.source.qmpPath, "--to",
        "\(way.ssh.host):\(guest.destination.qmpPath)",
      ]
      let running = try guest.godwit.start(
        words + ["--postcopy=now", "--bandwidth", "20M"], environment: way.environment())
      try guest.source.wait(for: "postcopy") {
        try guest.source.migrationStatus == "postcopy-active"
      }
      try guest.source.wait(for: "the machine to run at the destination") {
        try guest.destination.status == "running"
      }
      way.ssh.cut()
      #expect(try running.wait(seconds: 30) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("ssh connection") && said.contains("--recover"), "\(said)")
      let result = try guest.godwit.run(words + ["--recover"], environment: way.environment())
      #expect(result["status"] == "completed")
      try guest.requireArrival(after: last)
      try way.requireNothingLeft()
    }

    @Test(arguments: [true, false])
    func `a machine whose link breaks in postcopy is carried on over another ssh`(
      isCut: Bool
    ) throws {
      let move = try RemoteMove()
      let running = try move.start(
        ["--postcopy=now", "--bandwidth", "24M"], until: ["postcopy-active"])
      try move.target.wait(for: "the machine to run there") { try move.target.status == "running" }
      // With its ssh, or alone: then a keeper has the monitor, through the old ssh.
      if isCut { move.way.ssh.cut() } else { try move.source.qmp.execute("migrate-pause") }
      #expect(try running.wait(seconds: 30) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("--to \(move.address) --recover"), "\(said)")
      #expect(said.contains("ssh connection") == isCut, "\(said)")
      let result = try move.godwit.run(
        move.words(["--recover"]), environment: move.way.environment())
      #expect(result["status"] == "completed")
      #expect(result["mode"] == "postcopy")
      try move.requireArrival()
      try move.way.requireNothingLeft()
    }

    @Test func `an ssh that dies before the switch leaves the machine where it was`() throws {
      let move = try RemoteMove()
      let running = try move.start(["--bandwidth", "8M"], until: ["active"])
      move.way.ssh.cut()
      #expect(try running.wait(seconds: 30) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("ssh connection"), "\(said)")
      #expect(said.contains("runs on at \(move.source.qmpPath)"), "\(said)")
      try move.requireStay()
    }

    @Test(arguments: [[], ["--postcopy=now"]])
    func `a move whose godwit is killed goes on to its end, and its ssh ends`(
      way: [String]
    ) throws {
      let move = try RemoteMove()
      let running = try move.start(
        way + ["--bandwidth", "48M"], until: [way.isEmpty ? "active" : "postcopy-active"])
      running.kill()
      try move.source.wait(for: "the end of the move") {
        try move.source.migrationStatus == "completed"
      }
      try move.requireArrival()
      try move.way.requireNothingLeft()
    }

    @Test func `Ctrl-C cancels in order, though the terminal tells ssh as well`() throws {
      let move = try RemoteMove()
      let running = try move.start(["--bandwidth", "8M"], until: ["active"])
      running.interrupt()
      #expect(try running.wait(seconds: 20) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("cancelled") && said.contains("runs on at"), "\(said)")
      #expect(!said.contains("does not answer"), "\(said)")
      try move.requireStay()
      try move.way.requireNothingLeft()
    }

    @Test func `what cannot be reached is a sentence, and what gets nowhere can be left`() throws {
      let move = try RemoteMove()
      let before = "\(try move.target.qmp.execute("query-migrate"))"
      let cases: [(address: String, environment: [String: String], words: [String])] = [
        (move.address, move.way.environment("stranger"), ["Host key verification failed"]),
        (move.address, move.way.environment("closed"), ["Connection refused"]),
        (move.address, ["GODWIT_SSH": "no-such-ssh"], ["openssh-client", "GODWIT_SSH"]),
        (
          "nobody-\(UUID().uuidString.prefix(8))@" + move.address, move.way.environment(),
          ["Permission denied"]
        ),
        ("lab:/nonexistent/qmp", move.way.environment(), ["Nothing answers at /nonexistent/qmp"]),
      ]
      for (address, environment, words) in cases {
        let said = try move.godwit.refuse(
          ["migrate", "--from", move.source.qmpPath, "--to", address], environment: environment)
        for word in words { #expect(said.contains(word), "\(address): \(said)") }
      }
      let running = try move.godwit.start(
        move.words(), environment: ["GODWIT_SSH": "sh -c 'echo asking >&2; exec sleep 600'"],
        isJob: true)
      try move.source.wait(for: "what ssh says") {
        running.events.contains { $0["message"] == "ssh: asking" }
      }
      running.interrupt()
      #expect(try running.wait(seconds: 10) == 1)
      #expect(running.events.last?["message"]?.string?.contains("before anything was") == true)
      #expect("\(try move.target.qmp.execute("query-migrate"))" == before)
      try move.requireStay()
      try move.way.requireNothingLeft()
    }
  }
}
