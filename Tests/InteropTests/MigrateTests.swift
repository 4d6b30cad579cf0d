// From one QEMU to another, running: every pair of versions, every way, and every way it can break.

import DemoGuest
import Foundation
import JSON
import QEMULab
import Testing

/// A case of the matrix: from which QEMU to which, and how.
struct Move: CustomStringConvertible {
  var direction: Direction
  var way: [String]

  var description: String { "\(direction) \(way.joined(separator: " "))" }

  /// Whether the source keeps its guest's memory while it runs.
  static func isSound(_ qemu: QEMU) -> Bool { qemu.version >= QEMU.Version(10, 0) }

  static let all: [Move] = Direction.all().flatMap { direction in
    [[], ["--postcopy"], ["--postcopy=now"], ["--paused"], ["--paused", "--postcopy"]]
      .map { Move(direction: direction, way: $0) }
  }.filter { move in
    isSound(move.direction.source) || move.way.contains("--paused")
      || move.way.contains("--postcopy=now")
  }

  /// The QEMU whose guests can be moved while they run, if there is one here.
  static let source = QEMU.all(.x86_64).last(where: isSound)
}

/// A guest at work in one QEMU and another QEMU that waits for it.
final class MovingGuest {
  let godwit: Godwit
  let source: LabGuest
  let destination: LabGuest
  private let workload: String

  init(
    from qemu: QEMU, to other: QEMU? = nil, memory: Int = 32, rate: Int = 8,
    machine: String = "pc"
  ) throws {
    let direction = Direction(from: qemu, to: other ?? qemu)
    godwit = try Godwit()
    workload = DemoGuest.commandLine(
      memoryMegabytes: memory, rate: rate, check: 64, reportMilliseconds: 200)
    let configuration = LabConfiguration(
      qemu, machine: direction.machine(machine), workload: workload)
    source = try LabGuest(configuration)
    destination = try LabGuest(configuration.inside(direction.destination), isIncoming: true)
    try source.waitUntilReady()
    try source.requireHealth()
  }

  func words(_ options: [String]) -> [String] {
    ["migrate", "--from", source.qmpPath, "--to", destination.qmpPath] + options
  }

  @discardableResult
  func move(_ options: [String] = []) throws -> JSONValue { try godwit.run(words(options)) }

  /// Sees the guest carry on at the destination, every page checked once, and nowhere else.
  func requireArrival(after last: DemoGuestReport?) throws {
    let megabytes = DemoGuest.commandLineNumber("memory", in: workload)
    try destination.requireHealth(continuing: last, checkedPages: UInt64(megabytes) * 256)
    guard try source.status != "running" else { throw LabError("the machine runs twice") }
  }

  /// Sees the guest go on at the source and nowhere else.
  func requireStay() throws {
    try source.requireHealth()
    guard try source.status == "running" else { throw LabError("the source does not run") }
    guard !destination.isRunning || (try? destination.status) != "running" else {
      throw LabError("the machine runs twice")
    }
  }

  /// The capabilities and parameters of one end.
  static func settings(_ guest: LabGuest) throws -> [String] {
    [
      "\(try guest.qmp.execute("query-migrate-capabilities"))",
      "\(try guest.qmp.execute("query-migrate-parameters"))",
    ]
  }

  /// Starts a move and waits until the source is at work in one of these states.
  func start(_ options: [String], until states: Set<String>) throws -> RunningGodwit {
    let running = try godwit.start(words(options))
    try source.wait(for: "the move to be \(states)") {
      guard running.isRunning else {
        throw LabError("the move ended: \(running.output) \(running.errors)")
      }
      return states.contains(try source.migrationStatus)
    }
    return running
  }
}

extension Interop {
  @Suite(.enabled(if: QEMU.newest() != nil, "no qemu-system-x86_64: nothing to move"))
  struct MigrateTests {
    @Test(.timeLimit(.minutes(2)), arguments: Move.all)
    func `a guest moves and carries on with every page whole`(move: Move) throws {
      let guest = try MovingGuest(from: move.direction.source, to: move.direction.destination)
      let before = (
        try MovingGuest.settings(guest.source), try MovingGuest.settings(guest.destination)
      )
      let last = guest.source.reports.last
      let result = try guest.move(move.way)
      #expect(result["status"] == "completed")
      #expect(result["running"] == true)
      #expect(result["ram_bytes"]?.uint64 ?? 0 >= 128 << 20)
      #expect(result["wire_bytes"]?.uint64 ?? 0 > 32 << 20)
      #expect(result["rounds"]?.uint64 ?? 0 >= 2)
      #expect(result["seconds"]?.double ?? 0 > 0)
      let downtime = try #require(result["downtime_ms"]?.double)
      #expect(downtime > 0 && downtime < 30_000)
      try guest.requireArrival(after: last)
      let after = (
        try MovingGuest.settings(guest.source), try MovingGuest.settings(guest.destination)
      )
      #expect(before == after, "settings were not put back")
    }

    @Test(.timeLimit(.minutes(1)), arguments: Direction.all(), [[], ["--postcopy"]])
    func `a guest that stands still arrives byte for byte, and stands still`(
      direction: Direction, way: [String]
    ) throws {
      let guest = try MovingGuest(from: direction.source, to: direction.destination)
      try guest.source.stop()
      let memory = try guest.source.dumpMemory()
      let last = guest.source.reports.last
      let result = try guest.move(way)
      #expect(result["running"] == false)
      #expect(result["downtime_ms"] == .null)
      #expect(try guest.destination.status == "paused")
      let copy = try guest.destination.dumpMemory()
      #expect(memory.firstDifference(from: copy) == nil)
      try guest.destination.resume()
      try guest.requireArrival(after: last)
    }

    @Test(
      .enabled(if: Move.source != nil, "no QEMU here that moves a guest soundly while it runs"),
      .timeLimit(.minutes(1)))
    func `a guest that writes too fast goes over by postcopy, and is reported`() throws {
      let guest = try MovingGuest(from: try #require(Move.source), memory: 64, rate: 64)
      let page = guest.godwit.store + "/move.html"
      let last = guest.source.reports.last
      let result = try guest.move(["--postcopy", "--bandwidth", "40M", "--report", page])
      #expect(result["mode"] == "postcopy", "\(result)")
      #expect(result["page_requests"]?.uint64 ?? 0 > 0)
      #expect(result["postcopy_bytes"]?.uint64 ?? 0 > 0)
      try guest.requireArrival(after: last)
      let html = try String(contentsOfFile: page, encoding: .utf8)
      #expect(html.contains("Where the machine ran"))
      #expect(html.contains("MIGRATION postcopy-active"))
    }

    @Test(
      .enabled(if: Move.source != nil, "no QEMU here that moves a guest soundly while it runs"),
      .timeLimit(.minutes(1)))
    func `a move without an end says so and what would help, and Ctrl-C leaves the guest`() throws {
      let guest = try MovingGuest(from: try #require(Move.source), memory: 64, rate: 200)
      let before = try MovingGuest.settings(guest.source)
      let running = try guest.godwit.start(
        guest.words(["--bandwidth", "30M", "--downtime", "5"]))
      try guest.source.wait(for: "the forecast", seconds: 45) {
        running.events.contains { $0["message"]?.string?.contains("not converge") == true }
      }
      let notes = running.events.compactMap { $0["message"]?.string }
      let note = notes.last { $0.contains("converge") }
      #expect(note?.contains("--postcopy") == true, "\(note ?? "")")
      #expect(running.events.contains { $0["converges"] == false })
      running.interrupt()
      #expect(try running.wait(seconds: 20) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("cancelled") && said.contains("runs on at \(guest.source.qmpPath)"))
      try guest.requireStay()
      #expect(try MovingGuest.settings(guest.source) == before, "settings were not put back")
    }

    @Test(
      .enabled(if: Move.source != nil, "no QEMU here that moves a guest soundly while it runs"),
      .timeLimit(.minutes(1)))
    func `one byte a second is a crawl that can be cancelled at once`() throws {
      let guest = try MovingGuest(from: try #require(Move.source))
      let running = try guest.start(["--bandwidth", "1"], until: ["active"])
      running.interrupt()
      #expect(try running.wait(seconds: 10) == 1)
      #expect(running.events.contains { $0["message"]?.string?.contains("days") == true })
      try guest.requireStay()
    }

    @Test(.timeLimit(.minutes(1)), arguments: Direction.all())
    func `Ctrl-C in postcopy is explained, and the move goes on to its end`(
      direction: Direction
    ) throws {
      let guest = try MovingGuest(from: direction.source, to: direction.destination)
      let last = guest.source.reports.last
      let running = try guest.start(
        ["--postcopy=now", "--bandwidth", "20M"], until: ["postcopy-active"])
      running.interrupt()
      #expect(try running.wait(seconds: 30) == 0, "\(running.output)")
      #expect(
        running.events.contains { $0["message"]?.string?.contains("cannot be cancelled") == true })
      try guest.requireArrival(after: last)
    }

    @Test(.timeLimit(.minutes(2)), arguments: Direction.all())
    func `a postcopy whose link breaks is carried on by --recover`(direction: Direction) throws {
      let guest = try MovingGuest(from: direction.source, to: direction.destination)
      let before = (
        try MovingGuest.settings(guest.source), try MovingGuest.settings(guest.destination)
      )
      let last = guest.source.reports.last
      let running = try guest.start(
        ["--postcopy=now", "--bandwidth", "20M"], until: ["postcopy-active"])
      // A source of 7.2 says so before it has handed the machine over.
      try guest.source.wait(for: "the machine to run at the destination") {
        try guest.destination.status == "running"
      }
      try guest.source.qmp.execute("migrate-pause")
      #expect(try running.wait(seconds: 30) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("--recover"), "\(said)")
      let result = try guest.move(["--recover"])
      #expect(result["status"] == "completed")
      #expect(result["mode"] == "postcopy")
      try guest.requireArrival(after: last)
      let after = (
        try MovingGuest.settings(guest.source), try MovingGuest.settings(guest.destination)
      )
      #expect(before == after, "settings were not put back")
      #expect(try guest.godwit.refuse(guest.words(["--recover"])).contains("nothing to recover"))
    }

    @Test(.timeLimit(.minutes(1)), arguments: Direction.all())
    func `a destination that dies on the way leaves the guest at the source`(
      direction: Direction
    ) throws {
      let guest = try MovingGuest(from: direction.source, to: direction.destination)
      let way = Move.isSound(direction.source) ? [] : ["--paused"]
      let running = try guest.start(way + ["--bandwidth", "20M"], until: ["active"])
      usleep(200_000)
      guest.destination.kill()
      #expect(try running.wait(seconds: 30) == 1)
      let said = try #require(running.events.last?["message"]?.string)
      #expect(said.contains("runs on at \(guest.source.qmpPath)"), "\(said)")
      try guest.requireStay()
    }

    @Test(.timeLimit(.minutes(1)))
    func `a destination that does not fit is refused before anything runs`() throws {
      let qemu = try #require(QEMU.newest())
      let guest = try MovingGuest(from: qemu)
      var other = LabConfiguration(qemu, machine: "q35")
      other.memoryMegabytes = 64
      let wrong = try LabGuest(other, isIncoming: true)
      let said = try guest.godwit.refuse(
        ["migrate", "--from", guest.source.qmpPath, "--to", wrong.qmpPath, "--paused"])
      #expect(said.contains("-machine pc"))
      #expect(try wrong.status == "inmigrate")
      let itself = try guest.godwit.refuse(
        ["migrate", "--from", guest.source.qmpPath, "--to", guest.source.qmpPath])
      #expect(itself.contains("itself"))
      let running = try guest.godwit.refuse(
        ["migrate", "--from", guest.destination.qmpPath, "--to", guest.source.qmpPath])
      #expect(running.contains("nothing to move") || running.contains("machine of its own"))
      try guest.requireStay()
    }

    @Test(
      .enabled(
        if: QEMU.all(.x86_64).contains { !Move.isSound($0) }, "no QEMU here that loses writes"),
      .timeLimit(.minutes(1)))
    func `a QEMU that loses writes is refused with the ways that remain`() throws {
      let old = try #require(QEMU.all(.x86_64).first { !Move.isSound($0) })
      let guest = try MovingGuest(from: old)
      let said = try guest.godwit.refuse(guest.words([]))
      for word in ["loses", "--postcopy=now", "--paused", "--force"] {
        #expect(said.contains(word), "\(said)")
      }
      #expect(try guest.destination.status == "inmigrate")
      try guest.requireStay()
    }
  }
}
