// Out of one QEMU and into another: every way of saving, every machine, every pair of versions.

import DemoGuest
import JSON
import QEMULab
import Testing

/// A case of the matrix: from which QEMU to which, on which machine, saved how.
struct Passage: CustomStringConvertible {
  var direction: Direction
  var machine: String
  var taking: Taking

  var description: String { "\(direction), \(machine), \(taking)" }

  var configuration: LabConfiguration {
    LabConfiguration(direction.source, machine: direction.machine(machine))
  }

  /// Whether this QEMU keeps its guest's memory when it saves it so.
  var isSound: Bool {
    taking != .precopy || direction.source.version >= QEMU.Version(10, 0)
  }

  /// Every combination.
  static let all: [Passage] = Direction.all().flatMap { direction in
    LabConfiguration.machines(.x86_64).flatMap { machine in
      Taking.allCases.map { Passage(direction: direction, machine: machine, taking: $0) }
    }
  }.filter(\.isSound)

  /// Enough of them to see every direction, every machine and every way of saving.
  static let few: [Passage] = Direction.all().enumerated().flatMap { index, direction in
    let machines = LabConfiguration.machines(.x86_64)
    return Taking.allCases.enumerated().map { number, taking in
      Passage(
        direction: direction, machine: machines[(index + number) % machines.count], taking: taking)
    }.filter(\.isSound).enumerated().filter { ($0.offset + index) % 2 == 0 }.map(\.element)
  }
}

extension Interop {
  @Suite(.enabled(if: QEMU.newest() != nil, "no qemu-system-x86_64: nothing to move"))
  struct SaveRestoreTests {
    @Test(.timeLimit(.minutes(3)), arguments: Lab.isLong ? Passage.all : Passage.few)
    func `a guest goes through the store whole`(passage: Passage) throws {
      let journey = try Journey(passage.configuration)
      let saved = try journey.save(passage.taking)
      #expect(saved["ram_bytes"]?.uint64 ?? 0 >= 128 << 20)
      if passage.taking != .live {
        try journey.requireEqualMemory(in: passage.direction.destination)
      }
      let restored = try journey.requireLife(in: passage.direction.destination)
      #expect(restored["name"] == "one")
      #expect(restored["seconds"]?.double ?? 0 > 0)
    }

    @Test(.timeLimit(.minutes(1)))
    func `a guest saved standing still is restored instantly, byte for byte`() throws {
      let qemu = try #require(QEMU.newest())
      let journey = try Journey(LabConfiguration(qemu, machine: "pc"))
      try journey.save(.stopped)
      let copy = try journey.destination()
      try journey.godwit.run(["restore", "one", "--qmp", copy.qmpPath])
      #expect(try copy.status == "paused")
      try journey.requireEqual(copy)
      try copy.resume()
      try journey.requireCarryingOn(copy)
    }

    @Test(.timeLimit(.minutes(1)))
    func `a guest is loaded eagerly and carries on`() throws {
      let qemu = try #require(QEMU.newest())
      let journey = try Journey(LabConfiguration(qemu, machine: "q35"))
      try journey.save(.paused)
      try journey.requireLife(options: ["--eager"])
    }

    @Test(.timeLimit(.minutes(1)))
    func `the second save of a guest costs what changed`() throws {
      let qemu = try #require(QEMU.newest())
      var configuration = LabConfiguration(qemu, machine: "microvm")
      configuration.workload = DemoGuest.commandLine(
        memoryMegabytes: 64, rate: 1, check: 64, reportMilliseconds: 200)
      let journey = try Journey(configuration)
      let first = try journey.save(.paused, as: "one")
      try journey.source.resume()
      try journey.source.requireHealth()
      let second = try journey.save(.paused, as: "two")
      let stored = try #require(second["stored_bytes"]?.double)
      #expect(stored < 0.3 * (first["stored_bytes"]?.double ?? 0))
      #expect(second["pages_known"]?.uint64 ?? 0 > 10_000)

      // How much less is asked for depends on the machine's speed: the benchmark measures that.
      let one = try #require(try journey.requireLife("two")["page_requests"]?.uint64)
      let two = try #require(try journey.requireLife("two")["page_requests"]?.uint64)
      print("page requests of the first and the second restore: \(one), \(two)")
    }

    @Test(
      .enabled(
        if: QEMU.all(.x86_64).contains { $0.version < QEMU.Version(10, 0) },
        "no QEMU here that loses writes"),
      .timeLimit(.minutes(1)))
    func `a live precopy that would lose writes is refused or replaced`() throws {
      let qemu = try #require(QEMU.all(.x86_64).first)
      let journey = try Journey(LabConfiguration(qemu, machine: "pc"))
      let words = ["save", "--qmp", journey.source.qmpPath, "--name"]
      let said = try journey.godwit.refuse(words + ["bad", "--precopy"])
      #expect(said.contains("loses"))
      let saved = try journey.godwit.run(words + ["good"])
      #expect(saved["mode"] != "precopy")
      #expect(try journey.godwit.names() == ["good"])
      try journey.source.requireHealth()
      try journey.requireLife("good")
    }
  }
}
