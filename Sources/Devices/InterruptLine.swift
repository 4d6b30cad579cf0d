// How a device asks for attention.

/// A level-triggered interrupt line, wired by the machine to its interrupt controller.
///
/// Devices call it while they hold their own lock, so that levels arrive in order; what it calls
/// must not call back into a device.
public struct InterruptLine: Sendable {
  /// Raises or lowers the line; may be called from any thread.
  public let set: @Sendable (Bool) -> Void

  /// Creates a line that calls `set` with each level.
  public init(set: @escaping @Sendable (Bool) -> Void) {
    self.set = set
  }
}
