// What every way of sending a machine shares: the channel and what is counted about it.

internal import MigrationCore
internal import Synchronization
internal import Transport
internal import Wire

/// One connection to a destination.
final class SourceSession: Sendable {
  let channel: ByteChannel
  let endpoint: any SourceEndpoint
  let format: SourceFormat
  let options: SourceOptions
  /// The limit of the options, which may have changed since.
  let bandwidthLimit: BandwidthLimit
  let counters: ProgressCounters
  /// What the destination holds already, where both ends agreed on that.
  let known: KnownPagesSender?
  /// Where requested pages go, where both ends agreed on a channel for them.
  let preempt: PreemptLink?
  let start: Mutex<ContinuousClock.Instant?>
  private let cancelled = Atomic<Bool>(false)

  convenience init(
    channel: ByteChannel, endpoint: any SourceEndpoint, options: SourceOptions, isPostcopy: Bool,
    status: MigrationStatus = .none
  ) {
    self.init(
      channel: channel, endpoint: endpoint, deviceState: endpoint.deviceState, options: options,
      isPostcopy: isPostcopy,
      counters: ProgressCounters(from: status, observer: options.statusObserver))
  }

  /// The connection of a machine that runs, whose state is taken later.
  convenience init(
    channel: ByteChannel, running endpoint: any LiveSourceEndpoint, options: SourceOptions,
    isPostcopy: Bool, observer: (@Sendable (MigrationStatus) -> Void)?
  ) {
    self.init(
      channel: channel, endpoint: endpoint, deviceState: nil, options: options,
      isPostcopy: isPostcopy, counters: ProgressCounters(observer: observer))
  }

  /// The same connection once the state of the devices is known.
  convenience init(_ other: SourceSession, carrying deviceState: DeviceState) {
    self.init(
      channel: other.channel, endpoint: other.endpoint, deviceState: deviceState,
      options: other.options, isPostcopy: true, counters: other.counters,
      bandwidthLimit: other.bandwidthLimit, known: other.known, preempt: other.preempt)
    start.withLock { own in own = other.start.withLock { $0 } }
  }

  private init(
    channel: ByteChannel, endpoint: any SourceEndpoint, deviceState: DeviceState?,
    options: SourceOptions, isPostcopy: Bool, counters: ProgressCounters,
    bandwidthLimit: BandwidthLimit? = nil, known: KnownPagesSender? = nil,
    preempt: PreemptLink? = nil
  ) {
    self.channel = channel
    self.endpoint = endpoint
    self.options = options
    self.bandwidthLimit = bandwidthLimit ?? BandwidthLimit(options.bandwidthLimit)
    self.counters = counters
    start = Mutex(nil)
    format = SourceFormat(
      configuration: endpoint.configuration, blocks: endpoint.blocks,
      targetPageSize: endpoint.targetPageSize, ramSectionID: endpoint.ramSectionID,
      deviceState: deviceState, ordinaryPageSize: options.ordinaryPageSize,
      isPostcopy: isPostcopy)
    let isKnownAsked = options.usesKnownPages && KnownPagesSender.suits(format)
    self.known = known ?? (isKnownAsked ? KnownPagesSender(format, counters) : nil)
    let ownPreempt = isPostcopy ? options.openPreemptChannel : nil
    self.preempt = preempt ?? ownPreempt.map { [format] in PreemptLink($0, format.encoder()) }
    let omitted = endpoint.omittedBlocks
    let total = format.blocks.indices.reduce(UInt64(0)) {
      omitted.contains($1) ? $0 : $0 &+ format.blocks[$1].usedLength
    }
    counters.totalRAMBytes.store(total, ordering: .relaxed)
    counters.remainingRAMBytes.store(total, ordering: .relaxed)
  }

  var isCancelled: Bool { cancelled.load(ordering: .acquiring) }

  func cancel() {
    cancelled.store(true, ordering: .releasing)
    breakLink()
  }

  /// Ends all of the link, from any thread.
  func breakLink() {
    channel.shutdownBoth()
    preempt?.end()
  }

  func begin() {
    start.withLock { $0 = ContinuousClock.now }
  }

  /// Since `run()` was called.
  var elapsed: Duration {
    start.withLock { $0.map { ContinuousClock.now - $0 } ?? .zero }
  }

  /// Writes everything in the encoder and empties it.
  func flush(_ encoder: inout StreamEncoder) throws(TransportError) {
    try channel.write(encoder.buffer)
    counters.bytesSent.add(UInt64(encoder.buffer.count), ordering: .relaxed)
    encoder.buffer.removeAll(keepingCapacity: true)
  }

  /// The fields of a report that the counters know.
  var report: SourceReport {
    let progress = counters.snapshot
    var report = SourceReport()
    report.pageRequests = progress.pageRequests
    report.pagesPushed = progress.pagesPushed
    report.zeroPages = progress.zeroPages
    report.normalPages = progress.normalPages
    report.hashedPages = progress.hashedPages
    report.missedPages = progress.missedPages
    report.bytesSent = progress.bytesSent
    report.total = elapsed
    return report
  }
}

/// The most bytes a second that go unasked, as it is at the moment; nil for no limit.
final class BandwidthLimit: Sendable {
  private let bytesPerSecond: Mutex<UInt64?>

  init(_ bytesPerSecond: UInt64?) { self.bytesPerSecond = Mutex(bytesPerSecond) }

  var value: UInt64? { bytesPerSecond.withLock { $0 } }

  func change(to value: UInt64?) { bytesPerSecond.withLock { $0 = value } }
}

/// Holds a writer to a number of bytes a second, which may change, over windows of a tenth of a
/// second.
struct RateLimiter {
  private var limit: UInt64?
  private var windowStart = ContinuousClock.now
  private var bytesInWindow: UInt64 = 0

  /// How long to wait after `byteCount` more bytes were sent under a limit.
  mutating func delay(afterSending byteCount: Int, limit: UInt64?) -> Duration {
    if limit != self.limit {
      // What went out under another limit does not count.
      self.limit = limit
      windowStart = .now
      bytesInWindow = 0
    }
    guard let limit, limit > 0 else { return .zero }
    bytesInWindow += UInt64(byteCount)
    let now = ContinuousClock.now
    let due = Duration.seconds(Double(bytesInWindow) / Double(limit))
    let spent = now - windowStart
    if spent > due + .milliseconds(100) {
      // Time that was not used does not accumulate.
      windowStart = now
      bytesInWindow = 0
    }
    return max(.zero, due - spent)
  }
}
