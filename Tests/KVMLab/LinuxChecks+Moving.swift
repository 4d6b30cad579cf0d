// Checks of a guest that is moved while it works: its memory, its disk and its connections go on.

import Foundation
import JSON
import QEMULab

extension LinuxChecks {
  /// How a machine is moved.
  enum Way: String, CaseIterable {
    case precopy, postcopy
  }

  /// Moves a guest at work to another machine, and on to a third.
  func checkMoves(of first: LinuxGuest, _ setup: LinuxGuest.Setup, network: NetworkPeer?) {
    var guest = first
    var isReady = report.check("works on memory and disk, and keeps a connection open") {
      try begin(in: guest, setup, network)
    }
    for (number, way) in Way.allCases.enumerated() where isReady {
      isReady = report.check("moves by \(way.rawValue) while it works") {
        var next = setup
        if network != nil { next.tap = NetworkPeer.taps[number + 1] }
        let target = try waiting(in: .godwit(godwit), next)
        let remark = try move(guest, to: target, by: way, network)
        guest = target
        return remark
      }
    }
    guard isReady else { return }
    report.check("has lost nothing on both moves") { try end(in: guest, setup) }
  }

  func begin(
    in guest: LinuxGuest, _ setup: LinuxGuest.Setup, _ network: NetworkPeer?
  ) throws -> String {
    if let network {
      try network.attach(to: NetworkPeer.taps[0])
      try network.collect(from: guest)
    }
    guest.type("/bin/work \(setup.disk == nil ? "" : "/dev/vda") >/dev/null 2>&1 &")
    try guest.wait(for: "work that is done", seconds: 60) { try rounds(of: guest) > 1 }
    return network == nil ? "no network: tap devices cannot be made here" : ""
  }

  func rounds(of guest: LinuxGuest) throws -> Int {
    try guest.number("cat /tmp/round 2>/dev/null || echo 0")
  }

  /// Moves a guest, and has its work go on for a while.
  private func move(
    _ guest: LinuxGuest, to target: LinuxGuest, by way: Way, _ network: NetworkPeer?
  ) throws -> String {
    let socket = target.directory + "/move"
    for machine in [guest, target] {
      try machine.qmp.setCapabilities(
        ["return-path"] + (way == .postcopy ? ["postcopy-ram"] : []))
    }
    try target.qmp.execute("migrate-incoming", ["uri": .string("unix:" + socket)])
    let before = try rounds(of: guest)
    try guest.qmp.execute("migrate", ["uri": .string("unix:" + socket)])
    if way == .postcopy {
      try guest.wait(for: "pages on their way", seconds: 60) {
        try guest.qmp.execute("query-migrate")["ram"]?["transferred"]?.int ?? 0 > 0
      }
      try guest.qmp.execute("migrate-start-postcopy")
    }
    let account = try waitForMove(of: guest, to: target)
    if let network, let tap = target.tap { try network.attach(to: tap) }
    try target.wait(for: "work that goes on", seconds: 60) {
      try rounds(of: target) > before + 2
    }
    if let bad = try complaints(of: target) { throw LabError("after the move: \(bad)") }
    if let network { try network.requireMoreNumbers() }
    let downtime = account["downtime"]?.int ?? -1
    let bytes = account["ram"]?["transferred"]?.int ?? 0
    return "\(bytes >> 20) MiB in \(account["total-time"]?.int ?? -1) ms, \(downtime) ms down"
  }

  private func waitForMove(
    of guest: LinuxGuest, to target: LinuxGuest
  ) throws -> JSONValue {
    for machine in [guest, target] {
      var account: JSONValue = .null
      do {
        try machine.wait(for: "end of the move", seconds: 60) {
          account = try machine.qmp.execute("query-migrate")
          return ["completed", "failed", "cancelled"].contains(account["status"]?.string)
        }
      } catch {
        throw LabError("\(error); the migration: \(account)")
      }
      guard account["status"] == "completed" else {
        throw LabError("the migration: \(account) \(target.log)")
      }
    }
    guard try guest.qmp.execute("query-status")["status"] == "postmigrate",
      try target.qmp.execute("query-status")["status"] == "running"
    else { throw LabError("not one machine runs after the move, the second one") }
    return try guest.qmp.execute("query-migrate")
  }

  /// What the guest's work found wrong; nil where nothing was.
  func complaints(of guest: LinuxGuest) throws -> String? {
    let text = try guest.run("cat /tmp/bad 2>/dev/null || true")
    return text.isEmpty ? nil : text
  }

  /// Ends the work, and compares what it left on the disk with what it has in memory.
  func end(in guest: LinuxGuest, _ setup: LinuxGuest.Setup) throws -> String {
    let count = try rounds(of: guest)
    try guest.run("touch /tmp/end; while [ ! -e /tmp/done ]; do usleep 50000; done")
    if let bad = try complaints(of: guest) { throw LabError(bad) }
    if let disk = setup.disk {
      let sum = try guest.run("sha256sum </tmp/base")
      let there = try Self.output(of: [
        "sh", "-c", "dd if=\(disk) bs=1M skip=40 count=1 2>/dev/null | sha256sum",
      ])
      guard sum == there.trimmingCharacters(in: .whitespacesAndNewlines) else {
        throw LabError("the guest wrote \(sum), the image holds \(there)")
      }
    }
    return "\(count) rounds of work"
  }
}
