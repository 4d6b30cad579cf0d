// What a machine tells those who watch it.

/// Something that happened to a machine, as QEMU's events of the same names tell it.
public enum MachineEvent: Sendable, Equatable {
  /// Its processors were stopped (STOP).
  case stopped
  /// Its processors run again (RESUME).
  case resumed
  /// It was reset (RESET).
  case reset(byGuest: Bool)
  /// It was asked to switch itself off in order (POWERDOWN).
  case powerDown
  /// It is switched off (SHUTDOWN).
  case shutdown(byGuest: Bool, reason: ShutdownReason)
  /// Its guest's kernel gave up (GUEST_PANICKED).
  case guestPanicked
  /// The guest has so many bytes of memory now, what is in the balloon not counted
  /// (BALLOON_CHANGE).
  case balloonChanged(actualByteCount: UInt64)

  /// Why a machine ends, by QEMU's names.
  public enum ShutdownReason: String, Sendable {
    /// A client asked for it by `quit`.
    case hostQuit = "host-qmp-quit"
    /// A signal.
    case hostSignal = "host-signal"
    /// An error of the monitor.
    case hostError = "host-error"
    /// The guest switched itself off.
    case guestShutdown = "guest-shutdown"
    /// The guest asked for a reset where that ends the machine.
    case guestReset = "guest-reset"
  }
}
