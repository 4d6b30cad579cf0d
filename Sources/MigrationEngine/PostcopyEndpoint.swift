// What a machine offers that can run before all of its memory is there.

public import MigrationCore
public import Wire

/// A machine that waits for its state and can run before its memory is there.
///
/// Several threads call it: the one that receives, the one that loads the devices, and, through
/// the closure given to `beginServing`, its own that hears of page faults.
public protocol PostcopyEndpoint: DestinationEndpoint, Sendable {
  /// The size of the pages in which a block is filled, in bytes: a multiple of the stream's pages.
  ///
  /// Asked once `prepare` has returned.
  func pageByteCount(ofBlock index: Int) -> Int

  /// Gets ready for a postcopy; throw to refuse.
  func advise(_ advice: PostcopyAdvice) throws

  /// Forgets what came of some pages, before they are served.
  func discard(_ range: Range<UInt64>, ofBlock index: Int) throws

  /// From now on, whoever touches a page that is not there waits for it.
  ///
  /// - Parameters:
  ///   - recovery: what a recovery of this postcopy has to know.
  ///   - asking: to be called for each fault, on a thread of the endpoint's own. It says whether
  ///     the page has arrived already: then whoever waits is to be let in, and the page is zeros
  ///     if nothing was put there. It never waits.
  func beginServing(
    _ recovery: StreamDecoder.Recovery, asking: @escaping @Sendable (RAMPageAddress) -> Bool
  ) throws

  /// Puts the content of a target page where it belongs; nobody sees it there yet.
  func fill(_ page: RAMPageAddress, content: RawSpan) throws

  /// Has a target page be zeros; nobody sees it yet.
  func fillZero(_ page: RAMPageAddress) throws

  /// All of a page of its block is filled: notes that it is there.
  func keep(_ page: RAMPageAddress) throws

  /// Lets in who waits for a page that is kept, and whoever comes later.
  ///
  /// - Parameters:
  ///   - page: the page, by its first byte.
  ///   - isAwaited: whether somebody was seen to wait for it.
  ///   - isZero: whether the last that was put there were zeros.
  func release(_ page: RAMPageAddress, isAwaited: Bool, isZero: Bool) throws

  /// Gives the devices their state, all or nothing; they may wait for pages meanwhile.
  func load(_ state: DeviceState) throws

  /// The machine will run here: the source is told so after this returns.
  func commit()

  /// The machine will never run here: the source may be told so after this returns.
  func giveUp()

  /// Lets the machine run, unless it is to stay paused.
  ///
  /// The source counts on it from before this call.
  func run() throws

  /// Memory is ordinary again: all of it is there but for `missing`, which is zeros; or the machine
  /// will never run and whoever waits for a page gets zeros.
  func endServing(missing: [(blockIndex: Int, range: Range<UInt64>)]) throws
}

/// Where a postcopy stands whose link broke, for an engine that did not see it begin.
public struct InterruptedPostcopy: Sendable {
  /// What a decoder of the next link's stream has to know.
  public var recovery: StreamDecoder.Recovery
  /// What is known of each block's pages.
  public var pages: [PageArrivals.KeptPages]

  /// A postcopy to be carried on.
  public init(recovery: StreamDecoder.Recovery, pages: [PageArrivals.KeptPages]) {
    self.recovery = recovery
    self.pages = pages
  }
}
