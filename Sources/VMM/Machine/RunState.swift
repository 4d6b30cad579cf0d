// What a machine is doing, in the words that query-status uses.

/// What a machine is doing.
///
/// The raw values are QEMU's names for the same.
public enum RunState: String, CaseIterable, Sendable {
  /// Built, and not yet started.
  case prelaunch
  /// Its processors run.
  case running
  /// Stopped on request; `cont` lets it run again.
  case paused
  /// Waiting for, or loading, a state that comes from elsewhere.
  case inMigrate = "inmigrate"
  /// Stopped for the last part of its state to be sent.
  case finishMigrate = "finish-migrate"
  /// Its state was sent; it runs elsewhere, or could.
  case postMigrate = "postmigrate"
  /// Stopped while its state is saved.
  case saveVM = "save-vm"
  /// Stopped while a saved state is loaded.
  case restoreVM = "restore-vm"
  /// The guest switched itself off, and the monitor was asked to stay.
  case shutdown
  /// The guest's kernel said that it is beyond repair.
  case guestPanicked = "guest-panicked"
  /// A disk failed where the guest is not told.
  case ioError = "io-error"
  /// A processor cannot go on: the kernel does not know how to run what it found.
  case internalError = "internal-error"

  /// Whether processors run.
  public var isRunning: Bool { self == .running }

  /// Whether only a reset leads out of it.
  public var needsReset: Bool { self == .internalError || self == .shutdown }
}
