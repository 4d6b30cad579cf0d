// How a machine ended.

/// How a machine ended.
public struct MachineEnd: Sendable, Equatable {
  /// Why, by QEMU's names.
  public let reason: MachineEvent.ShutdownReason
  /// Whether the guest asked for it.
  public let isByGuest: Bool
}
