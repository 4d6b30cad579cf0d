// Godwit killed at random instants: no machine is lost, no listed checkpoint harmed.

import DemoGuest
import Foundation
import JSON
import QEMULab
import Testing

/// Random instants that a failed run can be repeated with.
struct SeededInstants: RandomNumberGenerator {
  let seed: UInt64
  private var state: UInt64

  /// - Parameter fixed: the seed where the environment gives none; nil for another one each time.
  init(unlessGiven fixed: UInt64? = nil) {
    let given = ProcessInfo.processInfo.environment["GODWIT_SEED"].flatMap { UInt64($0) }
    seed = given ?? fixed ?? UInt64.random(in: 1...UInt64(UInt32.max))
    state = seed
  }

  mutating func next() -> UInt64 {
    // SplitMix64.
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }
}

extension Interop {
  @Suite(.enabled(if: QEMU.newest() != nil, "no qemu-system-x86_64: nothing to move"))
  struct KillTests {
    static let kills = Lab.isLong ? 50 : 4

    @Test(.timeLimit(.minutes(10)))
    func `a save killed at any instant harms neither guest nor store`() throws {
      let qemu = try #require(QEMU.newest())
      var instants = SeededInstants()
      let journey = try Journey(LabConfiguration(qemu, machine: "pc"))
      let source = journey.source
      try journey.save(.paused, as: "kept")
      try source.resume()
      let began = Date()
      try journey.save(.live, as: "measure")
      let length = Date().timeIntervalSince(began)

      for number in 0..<Self.kills {
        let ways = [["--live"], ["--paused"]] + (qemu.version.major >= 10 ? [["--precopy"]] : [])
        let way = ways[number % ways.count]
        let run = try journey.godwit.start(
          ["save", "--qmp", source.qmpPath, "--name", "killed-\(number)"] + way)
        let instant = Double.random(in: 0...length, using: &instants)
        usleep(UInt32(instant * 1e6))
        run.kill()
        let context = Comment("seed \(instants.seed), kill \(number) after \(instant) s, \(way)")
        try #require(source.isRunning, context)
        // The migration that lost its peer ends by itself, and then the guest runs or can.
        try source.wait(for: "the end of the migration") {
          ["failed", "completed", "cancelled", "none"].contains(try source.migrationStatus)
        }
        if try source.status != "running" { try source.resume() }
        #expect(throws: Never.self, context) { try source.requireHealth() }
        #expect(try journey.godwit.names().contains("kept"), context)
      }
      let verified = try journey.godwit.run(["verify"])
      #expect(verified["clean"]?.bool == true, "\(verified)")
      try journey.godwit.run(["gc"])
      #expect(try journey.godwit.run(["verify"])["clean"]?.bool == true)
      try journey.save(.live, as: "after")
      try journey.requireLife("after")
      try journey.requireLife("kept")
    }

    @Test(.timeLimit(.minutes(10)))
    func `a restore killed at any instant is carried on by --recover`() throws {
      let qemu = try #require(QEMU.newest())
      var instants = SeededInstants()
      let qemus = QEMU.all(.x86_64)
      let widest = Direction(from: qemu, to: qemus[0])
      var configuration = LabConfiguration(qemu, machine: widest.machine("pc"))
      configuration.workload = DemoGuest.commandLine(
        memoryMegabytes: 96, rate: 8, check: 192, reportMilliseconds: 200)
      let journey = try Journey(configuration)
      try journey.save(.paused)
      journey.source.kill()
      let whole = Date()
      let seconds = try journey.requireLife()["seconds"]?.double ?? 0.1
      // Beside the restore itself: the start of two programs and a second of health.
      let length = min(Date().timeIntervalSince(whole), seconds + 0.5)

      var outcomes: [String: Int] = [:]
      for number in 0..<Self.kills {
        let copy = try journey.destination(qemus[number % qemus.count])
        let words = ["restore", "one", "--qmp", copy.qmpPath]
        let run = try journey.godwit.start(words)
        // Every other one while the guest runs and its memory follows.
        let isEarly = number.isMultiple(of: 2)
        if !isEarly { try Self.waitForFirstPages(copy, run) }
        let instant = Double.random(in: 0...(isEarly ? length : seconds), using: &instants)
        usleep(UInt32(instant * 1e6))
        let isOver = !run.isRunning
        run.kill()
        copy.qmp.setPatience(seconds: 5)
        let context = Comment(
          "seed \(instants.seed), kill \(number) after \(instant) s: \(copy.log)")
        do {
          let outcome = try Self.carryOn(copy, words, isOver: isOver, journey)
          outcomes[outcome, default: 0] += 1
        } catch {
          Issue.record(error, context)
        }
      }
      print("restores killed: \(outcomes)")
    }

    private static func waitForFirstPages(_ copy: LabGuest, _ run: RunningGodwit) throws {
      while run.isRunning, try ["none", "setup"].contains(copy.migrationStatus) { usleep(1000) }
    }

    /// Brings a guest whose restore was killed to life, and says how.
    private static func carryOn(
      _ copy: LabGuest, _ words: [String], isOver: Bool, _ journey: Journey
    ) throws -> String {
      if isOver {
        try journey.requireCarryingOn(copy)
        return "was over"
      }
      // Give QEMU a moment to see that its peer is gone.
      usleep(200_000)
      guard copy.isRunning else {
        // It ended before its guest ran: the machine is in the store, as it was.
        try journey.requireLife()
        return "QEMU ended, the guest had not run"
      }
      guard (try? copy.status) != nil else {
        // A processor that waits for a page may hold the lock that QEMU's main loop needs; only
        // the monitor connection that Godwit's keeper holds is still listened to.
        try journey.godwit.run(words + ["--recover"])
        try journey.requireCarryingOn(copy)
        return "stood still with its QEMU, recovered"
      }
      let began = !copy.serialText.isEmpty
      let status = try copy.migrationStatus
      if status == "completed" {
        try journey.requireCarryingOn(copy)
        return "was complete"
      }
      if status == "none" && !began {
        try journey.godwit.run(words)
        try journey.requireCarryingOn(copy)
        return "had not begun, restored"
      }
      try journey.godwit.run(words + ["--recover"])
      try journey.requireCarryingOn(copy)
      return "recovered"
    }
  }
}
