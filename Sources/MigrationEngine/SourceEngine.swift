// The sending engine: which plan runs, and what every plan shares. The plans themselves are
// `PrecopyRun` and `PostcopyRun`.

internal import MigrationCore
internal import Synchronization
public import Transport
internal import Wire

/// Gives a stopped machine from an endpoint to a migration destination.
public final class SourceEngine: Sendable {
  private let plan: any SourceRun

  /// An engine that will send over `channel`, which a destination listens to.
  public init(
    channel: ByteChannel, endpoint: any SourceEndpoint, plan: SourcePlan,
    options: SourceOptions = SourceOptions()
  ) {
    switch plan {
    case .precopy(let returnPath):
      self.plan = PrecopyRun(
        channel: channel, endpoint: endpoint, options: options, usesReturnPath: returnPath)
    case .postcopy(let hotPageLimit):
      self.plan = PostcopyRun(
        channel: channel, endpoint: endpoint, options: options,
        beginning: .fresh(hotPageLimit: hotPageLimit))
    case .recovery:
      self.plan = PostcopyRun(
        channel: channel, endpoint: endpoint, options: options, beginning: .recovery)
    }
  }

  /// How far it has come; from any thread, at any time.
  public var progress: MigrationProgress { plan.counters.snapshot }

  /// What was done so far; from any thread, at any time, and also after an error.
  public var report: SourceReport { plan.report }

  /// Ends it from any thread: `run()` throws `.cancelled`, unless it is over already.
  ///
  /// A machine that runs at the destination by then waits for a recovery.
  public func cancel() { plan.cancel() }

  /// Changes the most bytes a second that go out unasked, from any thread, at any time.
  public func change(bandwidthLimit: UInt64?) { plan.change(bandwidthLimit: bandwidthLimit) }

  /// Sends the machine; returns once the destination has everything.
  ///
  /// Blocks: call it on a thread of its own, once. Every thread it starts has ended when it
  /// returns or throws.
  public func run() throws(MigrationError) -> SourceReport {
    try plan.run()
    return plan.report
  }
}

/// One of the ways to send a machine.
protocol SourceRun: Sendable {
  var counters: ProgressCounters { get }
  var report: SourceReport { get }
  func cancel()
  func change(bandwidthLimit: UInt64?)
  func run() throws(MigrationError)
}
