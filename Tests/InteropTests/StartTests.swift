// Machines that godwit starts itself, several of one checkpoint at once.

import DemoGuest
import Foundation
import JSON
import QEMULab
import Testing

extension Interop {
  @Suite(.enabled(if: QEMU.newest() != nil, "no qemu-system-x86_64: nothing to start"))
  struct StartTests {
    /// Starts clones and hands them over for as long as `body` runs.
    private func withClones(
      of journey: Journey, count: Int, options: [String], _ body: ([LabGuest]) throws -> Void
    ) throws {
      let folder = NSTemporaryDirectory() + "gwstart-\(UUID().uuidString.prefix(8))"
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      try DemoGuest.write(to: folder + "/guest.elf")
      let command = journey.configuration.commandLine(
        image: folder + "/guest.elf", serial: folder + "/serial-{index}")
      let words = ["start", "one", "--count", "\(count)", "--run-directory", folder] + options
      let result = try journey.godwit.run(words + ["--"] + command)
      let guests = try #require(result["guests"]?.array)
      #expect(guests.count == count)
      let clones = try guests.enumerated().map { index, guest in
        try LabGuest(
          adopting: try #require(guest["pid"]?.int64.flatMap(Int32.init(exactly:))),
          qmp: try #require(guest["qmp"]?.string), serialPath: folder + "/serial-\(index)",
          configuration: journey.configuration)
      }
      try body(clones)
    }

    @Test(
      .timeLimit(.minutes(2)),
      arguments: Lab.isLong ? [[], ["--share"], ["--eager"]] : [["--share"]])
    func `three machines start from one checkpoint, each with its own life`(
      options: [String]
    ) throws {
      let qemu = try #require(QEMU.newest())
      let journey = try Journey(LabConfiguration(qemu, machine: "pc"))
      try journey.save(.paused)
      try withClones(of: journey, count: 3, options: options) { clones in
        for clone in clones {
          if try clone.status == "paused" { try clone.resume() }
          try journey.requireCarryingOn(clone)
        }
      }
    }

    @Test(.timeLimit(.minutes(2)))
    func `clones that share have little memory of their own`() throws {
      let qemu = try #require(QEMU.newest())
      var configuration = LabConfiguration(qemu, machine: "pc", memoryMegabytes: 256)
      configuration.workload = DemoGuest.commandLine(
        memoryMegabytes: 192, rate: 1, check: 16, reportMilliseconds: 200)
      let journey = try Journey(configuration)
      try journey.save(.paused)
      journey.source.kill()
      try withClones(of: journey, count: 2, options: ["--share"]) { clones in
        for clone in clones {
          try clone.requireHealth()
          #expect(clone.privateBytes < 128 << 20, "\(clone.privateBytes >> 20) MiB of its own")
        }
      }
    }
  }
}
