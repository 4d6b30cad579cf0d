// What a guest, or a processor that runs it, asks of its machine.

/// What a guest asks of its machine; carried out by the machine's own thread, since the one that
/// asks is about to be stopped.
public enum GuestRequest: Sendable, Equatable {
  /// The guest wants to begin anew.
  case reset
  /// The guest switched itself off.
  case shutdown
  /// The guest's kernel gave up.
  case panic
  /// The guest's balloon holds more or less now: what the guest has left, in bytes. Nothing is
  /// asked for; it is told, by a thread that may wait.
  case balloonChanged(actualByteCount: UInt64)
  /// A processor cannot go on; the sentence says why.
  case internalError(String)
}
