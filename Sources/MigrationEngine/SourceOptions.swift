// What a caller may choose about a move out of an endpoint, and what it is told afterwards.

public import MigrationCore
public import Wire

/// How the machine goes to the destination.
public enum SourcePlan: Sendable, Equatable {
  /// Everything first, then it runs. With a return path the destination confirms what it loaded;
  /// without one, ask it (query-migrate) once `run()` returns.
  case precopy(returnPath: Bool = false)
  /// It runs at once and its memory follows. Up to `hotPageLimit` host pages of the remembered
  /// demand order are sent before it runs; each delays it by its transfer.
  case postcopy(hotPageLimit: Int = 0)
  /// It runs and waits since its link broke: the missing pages follow over a new one.
  case recovery
}

/// What a caller may choose about a source.
public struct SourceOptions: Sendable {
  /// The most bytes a second that go out unasked; requested pages are never held back.
  public var bandwidthLimit: UInt64?
  /// Bytes that may be under way unasked while the guest asks for pages: a requested page waits
  /// behind them, and behind their being put in place.
  ///
  /// Four times as many while it asks seldom.
  public var busyWindow = 128 << 10
  /// A `busyWindow` for a destination with a pager, which takes several microseconds to place each
  /// page: a requested page waits for those of the window, and less of one would leave the link
  /// idle between confirmations.
  public static let pagerBusyWindow = 48 << 10
  /// Bytes that may be under way while the guest asks for nothing.
  public var quietWindow = 4 << 20
  /// How long the guest must ask for nothing to count as quiet.
  public var quietAfter: Duration = .milliseconds(10)
  /// The size in bytes of the destination host's ordinary pages.
  public var ordinaryPageSize = 4096
  /// Whether a precopy without return path waits until the destination closes the link, which it
  /// does once it has loaded the machine.
  public var waitsForClose = true

  /// Whether nobody knows if the machine that a recovery carries on runs at the destination.
  ///
  /// The link broke before any answer came; an answer to the recovery shows that it does.
  public var isDestinationInDoubt = false

  /// Called with every later status, by the thread that brings it about.
  public var statusObserver: (@Sendable (MigrationStatus) -> Void)?

  /// Opens the connection that requested pages of a postcopy go over, where both ends have the
  /// capability `postcopy-preempt`; nil where they do not.
  ///
  /// Called at most once, after the destination has answered over the first connection.
  public var openPreemptChannel: PreemptOpening?

  /// Whether pages that the destination holds go as their hashes.
  ///
  /// Both ends have the capability `x-known-pages` then; needs a return path.
  public var usesKnownPages = false
  /// How long to wait for what the destination announces, before pages go with their content.
  public var announcementPatience: Duration = .seconds(5)

  /// The choices that suit a move within a host or a fast network.
  public init() {}
}

/// What a source did; available during and after `run()`, whether or not that succeeded.
public struct SourceReport: Sendable, Equatable {
  /// Requests for pages that the guest waited for, repetitions included.
  public var pageRequests: UInt64 = 0
  /// Host pages that went out unasked.
  public var pagesPushed: UInt64 = 0
  /// Target pages sent as zeros.
  public var zeroPages: UInt64 = 0
  /// Target pages sent whole.
  public var normalPages: UInt64 = 0
  /// Target pages sent as the hash of what the destination holds.
  public var hashedPages: UInt64 = 0
  /// Target pages of these that it did not hold after all.
  public var missedPages: UInt64 = 0
  /// Bytes written to the channel.
  public var bytesSent: UInt64 = 0
  /// What the guest asked for and how the rest reached it (postcopy).
  public var demandOrder = DemandOrder()
  /// From a request read to its page written.
  public var requestLatency = LatencySummary()
  /// From the call of `run()` until the device state was written (postcopy).
  public var switchover: Duration?
  /// From the call of `run()` until the destination said that it had loaded the device state and
  /// was about to run (postcopy).
  public var running: Duration?
  /// From the call of `run()` to its end.
  public var total: Duration = .zero
  /// Pages that could not be read, as far as they are listed (4,096).
  public var damagedPages: [RAMPageAddress] = []
  /// How many pages could not be read.
  public var damagedPageCount = 0

  /// A report of nothing.
  public init() {}
}
