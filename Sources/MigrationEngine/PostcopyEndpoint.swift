// What a machine offers that can run before all of its memory is there.

public import Wire

/// A machine that waits for its state and can run before its memory is there.
///
/// Several threads call it: the one that receives, the one that loads the devices, and, through
/// the closure given to `beginServing`, its own that hears of page faults.
public protocol PostcopyEndpoint: DestinationEndpoint, Sendable {
  /// The size of the pages in which its memory is filled, in bytes: the same in all blocks, and
  /// that of the stream's pages.
  var pageByteCount: Int { get }

  /// Gets ready for a postcopy; throw to refuse.
  func advise(_ advice: PostcopyAdvice) throws

  /// Forgets what came of some pages, before they are served.
  func discard(_ range: Range<UInt64>, ofBlock index: Int) throws

  /// From now on, whoever touches a page that is not there waits for it.
  ///
  /// - Parameter asking: to be called for each fault, on a thread of the endpoint's own. It says
  ///   whether the page has arrived already: then whoever waits is to be woken, and the page is
  ///   zeros if it is gone again. It may block while the link takes no bytes.
  func beginServing(_ asking: @escaping @Sendable (RAMPageAddress) -> Bool) throws

  /// Fills a missing page and wakes whoever waits for it.
  func serve(_ page: RAMPageAddress, content: RawSpan) throws

  /// Fills a missing page with zeros and wakes whoever waits for it.
  func serveZero(_ page: RAMPageAddress) throws

  /// Gives the devices their state, all or nothing; they may wait for pages meanwhile.
  func load(_ state: DeviceState) throws

  /// Lets the machine run, unless it is to stay paused.
  ///
  /// The source counts on it from before this call.
  func run() throws

  /// Memory is ordinary again: all of it is there, or the machine will never run and whoever waits
  /// for a page gets zeros.
  func endServing()
}
