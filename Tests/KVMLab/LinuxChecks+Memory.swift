// Checks of the guest's memory: the balloon, what the guest says of itself, a dump.

import Foundation
import JSON
import QEMULab

extension LinuxChecks {
  /// Fills 48 MiB and frees them, takes 32 MiB away, and gives them back.
  ///
  /// Not more: where a processor is emulated, each page that the guest touches again costs a
  /// millisecond.
  func checkBalloon(of guest: LinuxGuest) throws -> String {
    let full = 256 << 20, small = 224 << 20
    guard try actual(guest) == full else { throw LabError("the balloon is not empty at first") }
    try guest.run("dd if=/dev/zero of=/tmp/fill bs=1M count=48 2>/dev/null")
    let resident = try guest.residentKilobytes()
    try guest.run("rm /tmp/fill")
    let before = try guest.memory()
    let events = guest.qmp.events.count
    try guest.qmp.execute("balloon", ["value": JSONValue(small)])
    try guest.wait(for: "balloon of 32 MiB") { try actual(guest) == small }
    try guest.wait(forEvent: "BALLOON_CHANGE", after: events)
    let within = try guest.memory()
    // A driver that may deflate in need leaves MemTotal as it is; MemFree falls in any case.
    guard before.free - within.free > 28 << 10 else {
      throw LabError("the guest had \(before.free) KiB free, and has \(within.free)")
    }
    let residentWithin = try guest.residentKilobytes()
    guard resident - residentWithin > 24 << 10 else {
      throw LabError("the host held \(resident) KiB, and holds \(residentWithin)")
    }
    try guest.qmp.execute("balloon", ["value": JSONValue(full)])
    try guest.wait(for: "empty balloon") { try actual(guest) == full }
    let after = try guest.memory()
    guard after.free - within.free > 28 << 10 else {
      throw LabError("the guest had \(within.free) KiB free, and has \(after.free)")
    }
    return "free \(before.free >> 10) → \(within.free >> 10) → \(after.free >> 10) MiB, "
      + "resident \(resident >> 10) → \(residentWithin >> 10) MiB"
  }

  private func actual(_ guest: LinuxGuest) throws -> Int? {
    try guest.qmp.execute("query-balloon")["actual"]?.int
  }

  /// Compares the statistics with what the guest itself reads.
  func checkStatistics(of guest: LinuxGuest) throws -> String {
    let balloon: JSONValue = "/machine/peripheral/balloon0"
    try guest.qmp.execute(
      "qom-set",
      ["path": balloon, "property": "guest-stats-polling-interval", "value": 1])
    var total = 0
    try guest.wait(for: "statistics") {
      let answer = try guest.qmp.execute(
        "qom-get", ["path": balloon, "property": "guest-stats"])
      total = answer["stats"]?["stat-total-memory"]?.int ?? 0
      return total > 0 && (answer["last-update"]?.int ?? 0) > 0
    }
    let own = try guest.memory().total
    guard abs(total >> 10 - own) < 1024 else {
      throw LabError("the statistics say \(total >> 10) KiB in all, the guest says \(own)")
    }
    try guest.qmp.execute(
      "qom-set",
      ["path": balloon, "property": "guest-stats-polling-interval", "value": 0])
    return "\(total >> 20) MiB in all"
  }

  /// Dumps the memory, has readelf read the file, and looks for the kernel's own words in it.
  func checkDump(of guest: LinuxGuest) throws -> String {
    let path = guest.directory + "/core"
    try guest.qmp.execute(
      "dump-guest-memory", ["paging": false, "protocol": .string("file:\(path)")])
    guard try guest.qmp.execute("query-status")["status"]?.string == "running" else {
      throw LabError("the machine does not run again after the dump")
    }
    let headers = try Self.output(of: ["readelf", "-lW", path])
    guard headers.contains("CORE (Core file)") else {
      throw LabError("readelf sees no core file: \(headers)")
    }
    let loads = headers.split(separator: "\n").map { $0.split(separator: " ") }
      .filter { $0.first == "LOAD" }
    let byteCount = loads.compactMap { Int($0[4].dropFirst(2), radix: 16) }.reduce(0, +)
    guard byteCount >= 256 << 20 else {
      throw LabError("the segments hold \(byteCount) bytes: \(headers)")
    }
    let notes = try Self.output(of: ["readelf", "-nW", path])
    let registers = notes.split(separator: "\n").count { $0.contains("NT_PRSTATUS") }
    guard registers == 2 else {
      throw LabError("the dump has the registers of \(registers) processors: \(notes)")
    }
    let banner = "Linux version " + (try guest.run("uname -r"))
    guard try Self.holds(path, text: banner) else {
      throw LabError("'\(banner)' is not in the dump")
    }
    return "\(loads.count) segments, \(byteCount >> 20) MiB, registers of both processors"
  }

  /// Whether a file holds a text, by a program that is quick even where processors are emulated.
  static func holds(_ path: String, text: String) throws -> Bool {
    try !output(of: ["grep", "-aoFm1", text, path]).isEmpty
  }

  /// What a program prints.
  static func output(of words: [String]) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = words
    let output = Pipe()
    process.standardOutput = output
    try process.run()
    let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
    process.waitUntilExit()
    guard process.terminationStatus != 127 else {
      throw Skipped(reason: "there is no \(words[0]) here")
    }
    return text
  }
}
