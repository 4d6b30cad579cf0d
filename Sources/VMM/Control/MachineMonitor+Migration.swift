// Commands that move the machine. What is checked here is what QEMU checks before anything begins;
// the moving itself is the machine's.

import JSON
import QMP

extension MachineMonitor {
  static let migrationCommands: [QMPServedCommand<MachineMonitor>] = [
    QMPServedCommand(
      "migrate", "Begins to send the machine, to exactly one of `uri` and `channels`.",
      arguments: MigrationAddress.arguments + [
        .optional("detach", .boolean), .optional("resume", .boolean),
      ],
      allowed: .except([
        (.inmigrate, "Guest is waiting for an incoming migration"),
        (.postmigrate, "Can't migrate the vm that was paused due to previous migration"),
        (.internalError, "Can't migrate the vm that is in an internal error"),
      ]), handler: migrate),
    QMPServedCommand(
      "migrate-incoming",
      "Begins to wait for a machine, from exactly one of `uri` and `channels`.",
      arguments: MigrationAddress.arguments + [.optional("exit-on-error", .boolean)],
      allowed: .only(
        [.inmigrate, .postmigrate], refusal: "'-incoming' was not specified on the command line"),
      handler: migrateIncoming),
    QMPServedCommand(
      "migrate_cancel", "Ends a migration that sends; the machine stays here.",
      handler: migrateCancel),
    QMPServedCommand(
      "migrate-continue", "Goes on where `pause-before-switchover` has stopped.",
      arguments: [.required("state", .enumeration(migrationStatus))], handler: migrateContinue),
    QMPServedCommand(
      "migrate-start-postcopy", "Switches to postcopy as soon as the migration allows.",
      handler: migrateStartPostcopy),
    QMPServedCommand(
      "migrate-recover", "Waits for a source again after a postcopy broke.",
      arguments: [.required("uri", .string)], isOutOfBandAllowed: true,
      handler: migrateRecover),
    QMPServedCommand(
      "migrate-pause", "Breaks a postcopy so that it can be carried on.",
      isOutOfBandAllowed: true, handler: migratePause),
    QMPServedCommand(
      "query-migrate", "How far the migration is.", returns: .object(migrationInfo),
      onlyLooks: true, handler: queryMigrate),
  ]

  private static func migrate(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let status = monitor.machine.migration.account.status
    let resumes = call["resume"]?.bool ?? false
    guard resumes || status.isTerminal else {
      throw QMPRefusal("There's a migration process in progress")
    }
    guard !resumes || status == .postcopyPaused else {
      throw QMPRefusal("Cannot resume if there is no paused migration")
    }
    let peer = try MigrationAddress.peer(of: call)
    let options = monitor.migrationOptions
    try monitor.asking { (machine) throws(MachineError) in
      try machine.migration.send(to: peer, options, resumes: resumes)
    }
    return [:]
  }

  private static func migrateIncoming(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let status = monitor.machine.migration.account.status
    // What a machine left behind takes it back, as often as it comes.
    let isReturn = monitor.runState == .postmigrate && status.isTerminal
    guard status == .none || isReturn else {
      throw QMPRefusal("The incoming migration has already been started")
    }
    let peer = try MigrationAddress.peer(of: call)
    let options = monitor.migrationOptions
    let exitsOnError = call["exit-on-error"]?.bool ?? true
    try monitor.asking { (machine) throws(MachineError) in
      try machine.migration.receive(from: peer, options, exitsOnError: exitsOnError)
    }
    return [:]
  }

  private static func migrateCancel(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    try monitor.asking { (machine) throws(MachineError) in try machine.migration.cancel() }
    return [:]
  }

  private static func migrateContinue(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    let status = monitor.machine.migration.account.status
    guard status.word == (try call.string("state")) else {
      throw QMPRefusal("Migration not in expected state: \(status.word)")
    }
    try monitor.asking { (machine) throws(MachineError) in try machine.migration.proceed() }
    return [:]
  }

  private static func migrateStartPostcopy(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    guard monitor.migrationOptions.has("postcopy-ram") else {
      throw QMPRefusal(
        "Enable postcopy with migrate_set_capability before the start of migration")
    }
    guard monitor.machine.migration.account.status != .none else {
      throw QMPRefusal("Postcopy must be started after migration has been started")
    }
    try monitor.asking { (machine) throws(MachineError) in
      try machine.migration.startPostcopy()
    }
    return [:]
  }

  private static func migrateRecover(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    guard monitor.machine.migration.account.status == .postcopyPaused else {
      throw QMPRefusal("Migrate recover can only be run when postcopy is paused.")
    }
    let peer = try MigrationAddress.peer(of: call)
    try monitor.asking { (machine) throws(MachineError) in
      try machine.migration.recover(from: peer)
    }
    return [:]
  }

  private static func migratePause(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    switch monitor.machine.migration.account.status {
    case .postcopyActive, .postcopyRecover, .postcopyRecoverSetup: break
    default:
      throw QMPRefusal(
        "migrate-pause is currently only supported during postcopy-active or postcopy-recover "
          + "state")
    }
    try monitor.asking { (machine) throws(MachineError) in try machine.migration.pause() }
    return [:]
  }

  private static func queryMigrate(
    _ monitor: MachineMonitor, _ call: QMPCall
  ) throws(QMPRefusal) -> JSONValue {
    monitor.machine.migration.account.json
  }
}
