// What is asked of the move of a running machine; all of it may change while it goes.

/// The wishes that the source of a running machine follows.
public struct LiveSettings: Sendable, Equatable {
  /// The longest time that the machine may stand still, as far as that can be planned.
  ///
  /// Zero lets it be stopped only when nothing is left to send.
  public var downtimeLimit: Duration
  /// Bytes a second that are counted on once the machine stands still; nil takes what was measured.
  public var switchoverBandwidth: UInt64?
  /// Whether somebody has to say when to switch over, once the machine stands still.
  public var pausesBeforeSwitchover: Bool
  /// How a machine that writes faster than its pages go is slowed down.
  public var throttling: ThrottlingPolicy

  /// The wishes that QEMU begins with: 300 ms, and a machine that is never slowed down.
  public init(
    downtimeLimit: Duration = .milliseconds(300), switchoverBandwidth: UInt64? = nil,
    pausesBeforeSwitchover: Bool = false, throttling: ThrottlingPolicy = .none
  ) {
    self.downtimeLimit = downtimeLimit
    self.switchoverBandwidth = switchoverBandwidth
    self.pausesBeforeSwitchover = pausesBeforeSwitchover
    self.throttling = throttling
  }
}
