// How long a machine's processors stood still because memory was not there, as QEMU counts it.
// No clock: whoever sees the events says when they were.

/// The time that processors waited for pages.
public struct Blocktime: Sendable {
  /// The place of a page among all that are waited for.
  public struct Page: Hashable, Sendable {
    /// Its block.
    public var block: Int
    /// Its first byte within the block.
    public var offset: Int

    /// Names a page.
    public init(block: Int, offset: Int) {
      self.block = block
      self.offset = offset
    }
  }

  private struct Wait: Sendable {
    let page: Page
    let since: UInt64
  }

  /// Nanoseconds that each processor waited, finished waits alone.
  public private(set) var byProcessor: [UInt64]
  /// Nanoseconds during which all processors waited at once.
  public private(set) var ofAll: UInt64 = 0

  private let threads: [Int32]
  private var waits: [Wait?]
  private var waitingCount = 0
  private var allSince: UInt64 = 0

  /// Nobody has waited yet.
  ///
  /// - Parameter threads: the kernel's numbers of the processors' threads, in their order.
  public init(threads: [Int32]) {
    self.threads = threads
    byProcessor = Array(repeating: 0, count: threads.count)
    waits = Array(repeating: nil, count: threads.count)
  }

  /// A thread waits for a page from now on; one that is no processor's does not count.
  ///
  /// - Parameter now: nanoseconds on any clock that only goes on.
  public mutating func wait(thread: Int32, for page: Page, at now: UInt64) {
    guard let index = threads.firstIndex(of: thread) else { return }
    // Woken for one page, it may have come to another before anybody noticed.
    if waits[index] != nil { end(index, at: now) }
    waits[index] = Wait(page: page, since: now)
    waitingCount += 1
    if waitingCount == threads.count { allSince = now }
  }

  /// Who waited for a page goes on.
  public mutating func arrive(_ page: Page, at now: UInt64) {
    for index in waits.indices where waits[index]?.page == page { end(index, at: now) }
  }

  private mutating func end(_ index: Int, at now: UInt64) {
    guard let wait = waits[index] else { return }
    byProcessor[index] += now &- wait.since
    if waitingCount == threads.count { ofAll += now &- allSince }
    waits[index] = nil
    waitingCount -= 1
  }
}
