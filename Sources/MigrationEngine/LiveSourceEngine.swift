// The sending engine of a machine that may run meanwhile: what a caller does with it and is told.

public import MigrationCore
public import Transport

/// What a caller may choose about the move of a running machine.
public struct LiveSourceOptions: Sendable {
  /// What is asked of the move; may change while it goes.
  public var settings = LiveSettings()
  /// The most bytes a second while the machine runs here; nil for no limit, and it may change.
  public var bandwidthLimit: UInt64?
  /// The most bytes a second that go unasked while the machine runs there; nil for no limit, and it
  /// may change.
  public var postcopyBandwidthLimit: UInt64?
  /// Whether the destination confirms over a return path that it has loaded the machine.
  public var usesReturnPath = false
  /// Whether its memory may follow it (postcopy); needs a return path.
  public var allowsPostcopy = false
  /// Whether pages that the destination holds go as their hashes.
  ///
  /// Both ends have the capability `x-known-pages` then; needs a return path.
  public var usesKnownPages = false
  /// Opens the connection that requested pages of a postcopy go over, where both ends have the
  /// capability `postcopy-preempt`; nil where they do not.
  public var openPreemptChannel: PreemptOpening?
  /// How long to wait for what the destination announces, before pages go with their content.
  public var announcementPatience: Duration = .seconds(5)
  /// Whether a move without return path waits until the destination closes the link.
  public var waitsForClose = true
  /// Called with every later status, by the thread that brings it about.
  public var statusObserver: (@Sendable (MigrationStatus) -> Void)?
  /// Called with the number of each reading of the dirty log, from 1, by the engine's thread.
  public var passObserver: (@Sendable (UInt64) -> Void)?

  /// The choices of a plain precopy without limits.
  public init() {}
}

/// Gives a machine that may run meanwhile to a migration destination.
///
/// Its memory goes in rounds while it runs, until what is left fits the downtime that may be; then
/// it is stopped and goes. Or it goes first and its memory follows, from any moment on that
/// somebody chooses. Everything but `run()` may be called from any thread at any time.
public final class LiveSourceEngine: Sendable {
  private let live: LiveRun

  /// An engine that will send over `channel`, which a destination listens to.
  public init(
    channel: ByteChannel, endpoint: any LiveSourceEndpoint, options: LiveSourceOptions
  ) {
    live = LiveRun(channel: channel, endpoint: endpoint, options: options)
  }

  /// Sends the machine; returns once the destination has it, and all of its memory.
  ///
  /// Blocks: call it on a thread of its own, once. The machine stands when this returns or throws
  /// after having been paused; whether it may run again is said by the error's
  /// ``MigrationError/destinationRunState``. Every thread it starts has ended then.
  public func run() throws(MigrationError) { try live.run() }

  /// How far it has come.
  public var account: LiveAccount { live.account }

  /// Ends the move, unless the destination has confirmed that it has the machine, or its memory
  /// follows it already.
  ///
  /// - Returns: whether `run()` will throw `.cancelled`, with what is known of the machine at the
  ///   destination; a confirmation that is under way may still come before it.
  public func cancel() -> Bool { live.cancel() }

  /// Breaks the link of a postcopy, to be carried on over another; nothing happens otherwise.
  ///
  /// - Returns: whether the machine had been handed over.
  public func breakLink() -> Bool { live.breakLink() }

  /// Ends the link in any case, because the process ends.
  public func abandon() { live.abandon() }

  /// Takes changed wishes into account, and changed limits: of ``LiveSourceOptions`` those that may
  /// change.
  public func change(
    _ settings: LiveSettings, bandwidthLimit: UInt64?, postcopyBandwidthLimit: UInt64?
  ) {
    live.change(
      settings, bandwidthLimit: bandwidthLimit, postcopyBandwidthLimit: postcopyBandwidthLimit)
  }

  /// Says that the machine, which stands and waits for it, may be switched over.
  ///
  /// - Returns: whether it waited.
  public func proceed() -> Bool { live.proceed() }

  /// Has memory follow the machine as soon as possible.
  ///
  /// - Returns: false where no postcopy was announced, or it is too late for one.
  public func startPostcopy() -> Bool { live.startPostcopy() }
}

/// How far the move of a running machine has come.
public struct LiveAccount: Sendable {
  /// What every migration counts.
  public var progress = MigrationProgress()
  /// How often the dirty log was read.
  public var syncCount: UInt64 = 0
  /// Bytes of memory that are written in a second; nil while nothing was measured.
  public var dirtyBytesPerSecond: Double?
  /// Bytes of memory that go out in a second, limits included; nil while nothing was measured.
  public var sentBytesPerSecond: Double?
  /// How long the machine would stand still if it were stopped now.
  public var expectedDowntime: Duration?
  /// How it is likely to go on.
  public var prediction: Prediction?
  /// How the machine is slowed down.
  public var throttle: Throttle?
  /// How long it stood still: until it was confirmed, or went on there, or until now.
  public var downtime: Duration?
  /// From the beginning to the first page.
  public var setup: Duration?
  /// Bytes that went out while the machine ran here, while it stood, and while it ran there.
  public var phaseBytes = PhaseBytes()
  /// From a request read to its page written, in a postcopy.
  public var requestLatency = LatencySummary()

  /// Bytes on the wire by what the machine was doing.
  public struct PhaseBytes: Sendable, Equatable {
    /// It ran here.
    public var precopy: UInt64 = 0
    /// It stood still.
    public var downtime: UInt64 = 0
    /// It ran there.
    public var postcopy: UInt64 = 0
  }

  /// An account of nothing.
  public init() {}
}
