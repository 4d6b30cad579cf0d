// What a caller may choose about a move into an endpoint, and what it is told afterwards.

public import MigrationCore
public import Wire

/// What a caller may choose about a destination.
public struct DestinationOptions: Sendable {
  /// How the source's stream is read: what it does not say itself, and the bounds it must keep.
  public var decoder = StreamDecoder.Options()
  /// The most bytes that one read takes from the channel.
  public var readByteCount = 1 << 20
  /// Whether both ends have the capability `switchover-ack`.
  public var sendsSwitchoverAcknowledgement = false
  /// What is held here already, where both ends have the capability `x-known-pages`; nil where they
  /// do not.
  ///
  /// The endpoint's pages have 4096 bytes then.
  public var knownContent: [any KnownContent]?
  /// Whether a source may go over to postcopy, where the endpoint is a ``PostcopyEndpoint``.
  public var takesPostcopy = false
  /// Called with every later status, by the thread that brings it about.
  public var statusObserver: (@Sendable (MigrationStatus) -> Void)?

  /// The choices that suit a QEMU as source.
  public init() {}
}

/// What a destination received.
public struct DestinationReport: Sendable, Equatable {
  /// Bytes read from the channel.
  public var bytesReceived: UInt64 = 0
  /// Target pages that held only zeros, each time they came.
  public var zeroPages: UInt64 = 0
  /// Target pages that came whole, each time they came.
  public var normalPages: UInt64 = 0
  /// Target pages that came as a delta.
  public var deltaPages: UInt64 = 0
  /// Target pages that came as the hash of what is held here, each time they did.
  public var hashedPages: UInt64 = 0
  /// Target pages of these that were not held after all.
  public var missedPages: UInt64 = 0
  /// How often the source went through memory.
  public var passCount: UInt64 = 0
  /// Whether the source waited for confirmation over a return path, and got it.
  public var confirmedToSource = false
  /// From the call of `run()` to its end.
  public var total: Duration = .zero

  /// A report of nothing.
  public init() {}
}
