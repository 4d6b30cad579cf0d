// The run states of a machine, in QMP's words.

/// Whether a machine runs, and why not, as `query-status` names it.
public enum QMPRunState: String, CaseIterable, Sendable {
  /// A debugger has stopped it.
  case debug
  /// It waits for a machine to come in.
  case inmigrate
  /// The monitor itself has failed.
  case internalError = "internal-error"
  /// A disk has failed and the guest was stopped for it.
  case ioError = "io-error"
  /// A person has stopped it.
  case paused
  /// It was stopped because it has been migrated.
  case postmigrate
  /// It was not started yet.
  case prelaunch
  /// It was stopped to end a migration.
  case finishMigrate = "finish-migrate"
  /// It is being restored.
  case restoreVM = "restore-vm"
  /// It runs.
  case running
  /// It is being saved.
  case saveVM = "save-vm"
  /// The guest has shut down.
  case shutdown
  /// The guest sleeps.
  case suspended
  /// A watchdog has bitten.
  case watchdog
  /// The guest has panicked.
  case guestPanicked = "guest-panicked"

  /// Whether vCPUs run in this state.
  public var isRunning: Bool { self == .running }
}
