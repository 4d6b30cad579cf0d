// What happens to a machine, and who is told.

import JSON
public import QMP
import Synchronization

/// Something that happened to a machine.
public enum MachineEvent: Sendable, Equatable {
  /// The vCPUs stopped.
  case stop
  /// The vCPUs run.
  case resume
  /// The machine ends, or the guest has ended it.
  case shutdown(guest: Bool, ShutdownCause)
  /// The machine was reset.
  case reset(guest: Bool, ShutdownCause)
  /// The power button was pressed.
  case powerdown
  /// The migration has got to this state; reported where the capability `events` is on.
  case migration(MigrationStatus)
  /// Memory is gone through for the `pass`th time; reported where the capability `events` is on.
  case migrationPass(Int)
  /// The balloon has changed: the guest has so many bytes.
  case balloonChange(actualByteCount: UInt64)
  /// A dump has ended.
  case dumpCompleted(writtenByteCount: UInt64, totalByteCount: UInt64, failure: String?)
}

/// Why a machine ended or was reset, in QEMU's words.
public enum ShutdownCause: String, CaseIterable, Sendable {
  /// No reason is known.
  case none
  /// The host could not go on with it.
  case hostError = "host-error"
  /// `quit` was asked for.
  case quitCommand = "host-qmp-quit"
  /// `system_reset` was asked for.
  case resetCommand = "host-qmp-system-reset"
  /// A signal came.
  case hostSignal = "host-signal"
  /// The window was closed.
  case hostUI = "host-ui"
  /// The guest switched itself off.
  case guestShutdown = "guest-shutdown"
  /// The guest reset itself.
  case guestReset = "guest-reset"
  /// The guest panicked.
  case guestPanic = "guest-panic"
  /// A part of the machine was reset.
  case subsystemReset = "subsystem-reset"
  /// A snapshot is to be loaded.
  case snapshotLoad = "snapshot-load"
}

/// The place where a machine reports what happens to it.
///
/// Any thread may report; subscribers are called on it, in the order of their subscriptions, and
/// must not wait.
public final class MachineEvents: Sendable {
  private let subscribers = Mutex<[@Sendable (MachineEvent) -> Void]>([])

  /// A place without subscribers.
  public init() {}

  /// Has every later event handed to `subscriber`, for the machine's life.
  public func subscribe(_ subscriber: @escaping @Sendable (MachineEvent) -> Void) {
    subscribers.withLock { $0.append(subscriber) }
  }

  /// Tells the subscribers.
  public func report(_ event: MachineEvent) {
    for subscriber in subscribers.withLock({ $0 }) { subscriber(event) }
  }
}
