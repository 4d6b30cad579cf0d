// The guest's clock as KVM keeps it.

/// The guest's clock (`struct kvm_clock_data`).
public struct VMClock: Equatable, Sendable {
  /// The clock in nanoseconds since the machine began.
  public var nanoseconds: UInt64
  /// Which of the other two fields are set (`KVM_CLOCK_…`); 2 means that the clock is stable.
  public var flags: UInt32
  /// The host's real time at that instant, in nanoseconds since 1970, where `flags` has 4.
  public var realtimeNanoseconds: UInt64
  /// The host's time stamp counter at that instant, where `flags` has 8.
  public var hostTSC: UInt64

  /// A clock.
  public init(
    nanoseconds: UInt64 = 0, flags: UInt32 = 0, realtimeNanoseconds: UInt64 = 0,
    hostTSC: UInt64 = 0
  ) {
    self.nanoseconds = nanoseconds
    self.flags = flags
    self.realtimeNanoseconds = realtimeNanoseconds
    self.hostTSC = hostTSC
  }
}
