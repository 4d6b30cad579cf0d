// Checks of `godwit migrate` between two QEMUs whose guests KVM runs.

import Foundation
import JSON
import QEMULab

extension LinuxChecks {
  /// Moves a guest at work to another QEMU, and on to a third, by the command that a person types.
  ///
  /// The oldest QEMU is the one to try: without KVM, releases before 10 lose what a guest writes
  /// during a precopy, and `godwit migrate` refuses them; KVM's own dirty log is sound in any.
  func checkMovesOfQEMU() {
    guard let qemu = QEMU.all(.x86_64).first else {
      report.skip("moves between QEMUs with KVM", "there is no qemu-system-x86_64 here")
      return
    }
    let program = GuestProgram.qemu(qemu), setup = LinuxGuest.Setup(megabytes: 128, processors: 2)
    withGuest("boots in QEMU \(qemu.version) with KVM", setup, in: program) { first in
      var guest = first
      var sum = ""
      var isReady = report.check("works on memory in QEMU") {
        try guest.run("dd if=/dev/urandom of=/tmp/kept bs=1M count=8 2>/dev/null")
        sum = try guest.run("sha256sum </tmp/kept")
        _ = try begin(in: guest, setup, nil)
        return ""
      }
      for way in Way.allCases where isReady {
        isReady = checkMove(of: &guest, by: way, in: program, setup)
      }
      guard isReady else { return }
      report.check("'godwit save' takes it while it works, 'godwit restore' brings it back") {
        let target = try waiting(in: program, setup)
        let remark = try saveAndRestore(guest, to: target)
        guest = target
        return remark
      }
      report.check("has lost nothing between QEMUs") {
        let remark = try end(in: guest, setup)
        guard try guest.run("sha256sum </tmp/kept") == sum else {
          throw LabError("8 MiB that nobody has written to since are not what they were")
        }
        return remark
      }
    }
  }

  /// Makes a move, as a check; false where the guest is lost.
  ///
  /// A move that cannot be made here is skipped and leaves the guest where it is.
  private func checkMove(
    of guest: inout LinuxGuest, by way: Way, in program: GuestProgram,
    _ setup: LinuxGuest.Setup
  ) -> Bool {
    var isPossible = true, arrived: LinuxGuest?
    let name = "'godwit migrate' moves it by \(way.rawValue) to another QEMU while it works"
    let isDone = report.check(name) {
      let target = try waiting(in: program, setup)
      if way == .postcopy, let reason = postcopyObstacle(at: target) {
        isPossible = false
        throw Skipped(reason: reason)
      }
      let remark = try migrate(guest, to: target, by: way)
      arrived = target
      return remark
    }
    if let arrived { guest = arrived }
    return isDone || !isPossible
  }

  /// Why no machine can come in by postcopy, where the host's kernel has not what that needs.
  private func postcopyObstacle(at target: LinuxGuest) -> String? {
    do {
      for state in [true, false] {
        try target.qmp.execute(
          "migrate-set-capabilities",
          ["capabilities": [["capability": "postcopy-ram", "state": .bool(state)]]])
      }
      return nil
    } catch {
      return "QEMU takes no postcopy on this kernel: \(error)"
    }
  }

  /// Moves a guest, sees that it runs at the destination alone, and has its work go on.
  private func migrate(
    _ guest: LinuxGuest, to target: LinuxGuest, by way: Way
  ) throws -> String {
    let page = target.directory + "/report.html"
    let before = try rounds(of: guest)
    let result = try resultOfGodwit(
      ["migrate", "--from", guest.directory + "/moves", "--to", target.directory + "/moves"]
        + (way == .postcopy ? ["--postcopy=now"] : []) + ["--report", page])
    guard result["status"] == "completed", result["mode"]?.string == way.rawValue,
      result["running"] == true
    else { throw LabError("it ended otherwise: \(result)") }
    guard try guest.qmp.execute("query-status")["status"] == "postmigrate",
      try target.qmp.execute("query-status")["status"] == "running"
    else { throw LabError("not one machine runs after the move, the second one") }
    let html = try String(contentsOfFile: page, encoding: .utf8)
    guard html.contains("Where the machine ran") else {
      throw LabError("the report does not show where the machine ran")
    }
    try requireWork(in: target, after: before)
    let bytes = result["wire_bytes"]?.int ?? 0
    return "\(bytes >> 20) MiB in \(result["rounds"]?.int ?? 0) rounds and "
      + String(format: "%.1f s", result["seconds"]?.double ?? 0)
      + String(format: ", %.0f ms down", result["downtime_ms"]?.double ?? -1)
  }

  /// Saves a guest, ends it, and has what was saved run in another QEMU.
  private func saveAndRestore(_ guest: LinuxGuest, to target: LinuxGuest) throws -> String {
    let store = ["--store", guest.directory + "/store"]
    let before = try rounds(of: guest)
    let saved = try resultOfGodwit(
      ["save", "--qmp", guest.directory + "/moves", "--name", "lab", "--then", "pause"] + store)
    guard saved["mode"] == "precopy" else { throw LabError("it was saved otherwise: \(saved)") }
    let restored = try resultOfGodwit(
      ["restore", "lab", "--qmp", target.directory + "/moves"] + store)
    try requireWork(in: target, after: before)
    return "\((saved["stored_bytes"]?.int ?? 0) >> 20) MiB stored, "
      + String(format: "running again within %.0f ms", restored["running_ms"]?.double ?? -1)
  }

  private func requireWork(in guest: LinuxGuest, after round: Int) throws {
    try guest.wait(for: "work that goes on", seconds: 60) { try rounds(of: guest) > round + 2 }
    if let bad = try complaints(of: guest) { throw LabError("it found: \(bad)") }
  }

  /// Runs a command of Godwit's that has to succeed, and returns the result that it reports.
  private func resultOfGodwit(_ words: [String]) throws -> JSONValue {
    // A move that finds no end is cancelled, and fails.
    let (status, text) = try Command.run(
      ["/usr/bin/env", "timeout", "120", godwit] + words + ["--json"])
    let events = text.split(separator: "\n").compactMap { try? JSONValue(parsing: String($0)) }
    guard status == 0,
      let result = events.last(where: { $0["event"] == "result" })
    else {
      throw LabError("godwit \(words[0]) ended with \(status): \(text)")
    }
    return result
  }
}
