// A lab guest told what to do over its monitor, and moved by QEMU itself.

import Foundation
import JSON

extension LabGuest {
  /// QEMU's run state (`running`, `paused`, `inmigrate`, …).
  public var status: String {
    get throws { try qmp.execute("query-status")["status"]?.string ?? "unknown" }
  }

  /// Pauses the guest.
  public func stop() throws { try qmp.execute("stop") }

  /// Lets the guest run.
  public func resume() throws { try qmp.execute("cont") }

  /// Waits until QEMU has a run state.
  public func waitForStatus(_ wanted: String, seconds: Double = 30) throws {
    try wait(for: "status \(wanted)", seconds: seconds) { try status == wanted }
  }

  /// The RAM blocks that QEMU has, as `info ramblock` prints them: for a failure's message.
  public func ramBlocks() throws -> String { try qmp.monitor("info ramblock") }

  /// Switches migration capabilities.
  public func setCapabilities(_ states: [String: Bool]) throws {
    let list = states.sorted { $0.key < $1.key }.map { name, state -> JSONValue in
      ["capability": .string(name), "state": .bool(state)]
    }
    try qmp.execute("migrate-set-capabilities", ["capabilities": .array(list)])
  }

  /// The state of QEMU's migration.
  public var migrationStatus: String {
    get throws { try qmp.execute("query-migrate")["status"]?.string ?? "none" }
  }

  /// Moves the guest to another lab guest by QEMU's own means, which tests of Godwit's are
  /// compared with.
  public func migrateDirectly(to other: LabGuest, postcopy: Bool = false) throws {
    let uri = JSONValue.string("unix:\(other.directory)/move")
    if postcopy {
      try setCapabilities(["postcopy-ram": true])
      try other.setCapabilities(["postcopy-ram": true])
    }
    try other.qmp.execute("migrate-incoming", ["uri": uri])
    try qmp.execute("migrate", ["uri": uri])
    if postcopy { try qmp.execute("migrate-start-postcopy") }
    try wait(for: "migration", seconds: 120) {
      let status = try migrationStatus
      guard status != "failed", status != "postcopy-paused" else {
        throw LabError("QEMU's own migration: \(status). \(log) \(other.log)")
      }
      return status == "completed"
    }
  }
}
