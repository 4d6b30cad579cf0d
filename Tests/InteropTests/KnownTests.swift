// What a destination is told to hold (`vm run --known`), by processes: used where it is true, and
// harmless or refused with a sentence where it is not.

import Foundation
import JSON
import QEMULab
import Testing

/// A machine that has filled its memory, and files made of it.
private final class Original {
  let godwit: Godwit
  let machine: OwnMachine
  private let folder = NSTemporaryDirectory() + "gwknown-\(UUID().uuidString.prefix(8))"

  init() throws {
    godwit = try Godwit()
    machine = try OwnMachine(godwit, accelerator: "synthetic", rate: 1)
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try machine.requireHealth()
  }

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  func path(_ name: String) -> String { folder + "/" + name }

  /// What holds its memory as it is now: a place as `--known` takes it.
  func place(_ kind: String) throws -> String {
    switch kind {
    case "checkpoint":
      try godwit.run(["save", "--qmp", machine.qmpPath, "--name", "one"])
      return "checkpoint:one"
    case "elf":
      try machine.qmp.execute(
        "dump-guest-memory", ["paging": false, "protocol": .string("file:" + path("dump"))])
      return "elf:" + path("dump")
    default:
      try machine.memory().write(to: URL(fileURLWithPath: path("image")))
      return "raw:" + path("image")
    }
  }

  /// A machine that waits, and holds this.
  func target(holding places: [String]) throws -> OwnMachine {
    try OwnMachine(
      godwit, isIncoming: true, accelerator: "synthetic", rate: 1,
      options: places.flatMap { ["--known", $0] })
  }

  func words(to target: OwnMachine, _ way: [String] = []) -> [String] {
    ["migrate", "--from", machine.qmpPath, "--to", target.qmpPath] + way
  }

  /// Moves the machine, and sees its guest carry on.
  @discardableResult
  func move(to target: OwnMachine, _ way: [String] = []) throws -> JSONValue {
    let result = try godwit.run(words(to: target, way))
    try target.requireHealth(reports: 3)
    return result
  }

  /// What a machine is told that is to hold something which cannot be used.
  func refusal(of place: String) throws -> String {
    try godwit.refuse([
      "vm", "run", "--demo-guest", "--memory", "64M", "--accel", "synthetic", "--incoming", "defer",
      "--known", place,
    ])
  }
}

extension Interop {
  @Suite struct KnownTests {
    @Test(
      .timeLimit(.minutes(2)), arguments: ["checkpoint", "elf", "raw"], [[], ["--postcopy=now"]])
    func `what a checkpoint, a dump or an image has of a machine need not travel`(
      kind: String, way: [String]
    ) throws {
      let original = try Original()
      let target = try original.target(holding: [try original.place(kind)])
      let result = try original.move(to: target, way)
      #expect(result["pages_known"]?.int ?? 0 > 8192, "\(result)")
      #expect(result["wire_bytes"]?.int ?? .max < 20 << 20, "\(result)")
    }

    @Test(.timeLimit(.minutes(2)), arguments: [[], ["--postcopy=now"]])
    func `an image that changes after it was announced costs its pages and nothing else`(
      way: [String]
    ) throws {
      let original = try Original()
      let target = try original.target(holding: [try original.place("raw")])
      // So slow that there is time to change it behind the announcement.
      let running = try original.godwit.start(
        original.words(to: target, way + ["--bandwidth", "64K"]))
      try original.machine.wait(for: "the announcement") {
        let known = try original.machine.qmp.execute("query-migrate")["known-pages"]
        return known?["announced"]?.int ?? 0 > 8192
      }
      let lie = Data(repeating: 0xA5, count: 64 << 20)
      let file = try FileHandle(forWritingTo: URL(fileURLWithPath: original.path("image")))
      try file.write(contentsOf: lie)
      try original.machine.qmp.execute(
        "migrate-set-parameters", ["max-bandwidth": 0, "max-postcopy-bandwidth": 0])
      #expect(try running.wait(seconds: 60) == 0, "\(running.output)")
      let known = try original.machine.qmp.execute("query-migrate")["known-pages"]
      #expect(known?["missed"]?.int ?? 0 > 1024, "\(String(describing: known))")
      try target.requireHealth(reports: 3)
    }

    @Test(.timeLimit(.minutes(2)))
    func `a file that is gone when a machine comes is told before anything moves`() throws {
      let original = try Original()
      let target = try original.target(holding: [try original.place("raw")])
      try FileManager.default.removeItem(atPath: original.path("image"))
      let said = try original.godwit.refuse(original.words(to: target))
      #expect(said.contains(original.path("image")) && said.contains("runs on at"), "\(said)")
      try original.machine.requireHealth()
    }

    @Test(.timeLimit(.minutes(2)))
    func `a dump of another machine is of no use, and of no harm`() throws {
      let (original, other) = (try Original(), try Original())
      try other.machine.qmp.execute("stop")
      // Every page of it is another than any that the guest has.
      let dump = String(try other.place("elf").dropFirst("elf:".count))
      var bytes = try Data(contentsOf: URL(fileURLWithPath: dump))
      for page in stride(from: 1 << 20, to: bytes.count, by: 512) { bytes[page] ^= 0x5A }
      try bytes.write(to: URL(fileURLWithPath: dump))
      let target = try original.target(holding: ["elf:" + dump])
      let result = try original.move(to: target)
      #expect(result["pages_known"]?.int ?? .max < 1024, "\(result)")
    }

    @Test(.timeLimit(.minutes(2)))
    func `what is no memory dump is refused when the machine starts, with what it is instead`()
      throws
    {
      let original = try Original()
      let dump = String(try original.place("elf").dropFirst("elf:".count))
      let whole = try Data(contentsOf: URL(fileURLWithPath: dump))
      func file(_ name: String, _ bytes: Data) throws -> String {
        try bytes.write(to: URL(fileURLWithPath: original.path(name)))
        return "elf:" + original.path(name)
      }
      let cases = [
        (try file("cut", whole.prefix(whole.count / 2)), "it is truncated"),
        (try file("stub", whole.prefix(40)), "ends inside its ELF header"),
        (try file("text", Data("not a dump, but a letter\n".utf8)), "is no ELF file"),
        (try file("empty", Data()), "too short"),
        ("elf:/proc/self/exe", "not a dump of memory"),
        ("elf:" + original.path("nowhere"), "No such file"),
        ("raw:" + original.path("text"), "not even one page"),
        ("checkpoint:nowhere", "is not a Godwit store"),
      ]
      for (place, words) in cases {
        let said = try original.refusal(of: place)
        #expect(said.contains(words), "\(place): \(said)")
      }
      try original.machine.requireHealth()
    }
  }
}
