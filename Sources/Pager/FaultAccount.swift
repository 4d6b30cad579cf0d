// How long the machine waited for pages: kept in the record, where the machine reads it at any time
// and the next pager adds to it.

internal import MigrationCore
public import MigrationEngine
internal import Synchronization

/// The waiting for pages of a machine, up to now.
public struct PagerAccount: Sendable, Equatable {
  /// From a fault's report to the letting in, of all pages that were waited for.
  public var latency = LatencySummary()
  /// How long each processor waited, in its order.
  public var blocktimeByProcessor: [Duration] = []
  /// How long all processors waited at once.
  public var blocktime: Duration = .zero

  /// An account of nothing.
  public init() {}
}

/// Sees who waits for what, and for how long.
final class FaultAccount: Sendable {
  private struct Waits {
    var since: [Blocktime.Page: UInt64] = [:]
    var blocktime: Blocktime
  }

  private let record: ArrivalRecord
  private let waits: Mutex<Waits>
  private let waitingCount = Atomic<Int>(0)
  private let began = ContinuousClock.now
  /// What former pagers had counted.
  private let former: PagerAccount

  init(_ record: ArrivalRecord, threads: [Int32]) {
    self.record = record
    former = record.account(processorCount: threads.count)
    waits = Mutex(Waits(blocktime: Blocktime(threads: threads)))
  }

  private var now: UInt64 { UInt64(clamping: (ContinuousClock.now - began).wholeNanoseconds) }

  /// Somebody waits for a page.
  func wait(thread: UInt32, for page: Blocktime.Page) {
    let now = now
    waits.withLock { waits in
      if waits.since.updateValue(waits.since[page] ?? now, forKey: page) == nil {
        waitingCount.add(1, ordering: .releasing)
      }
      waits.blocktime.wait(thread: Int32(truncatingIfNeeded: thread), for: page, at: now)
    }
  }

  /// Who waited for a page is let in.
  func arrive(_ page: Blocktime.Page) {
    // Most pages are not waited for.
    guard waitingCount.load(ordering: .acquiring) > 0 else { return }
    waits.withLock { waits in
      guard let since = waits.since.removeValue(forKey: page) else { return }
      waitingCount.subtract(1, ordering: .releasing)
      let now = now
      waits.blocktime.arrive(page, at: now)
      record.count(latency: now - since)
      record.store(
        blocktime: former.blocktime + .nanoseconds(Int64(clamping: waits.blocktime.ofAll)),
        byProcessor: zip(former.blocktimeByProcessor, waits.blocktime.byProcessor).map {
          $0 + .nanoseconds(Int64(clamping: $1))
        })
    }
  }
}

extension ArrivalRecord {
  /// The most processors of which an account is kept.
  static let processorLimit = 256

  private static let countWord = 8
  private static let longestWord = 9
  private static let blocktimeWord = 10
  private static let processorWord = 16

  /// What was counted so far.
  func account(processorCount: Int) -> PagerAccount {
    var account = PagerAccount()
    let buckets = (0..<LatencyHistogram.bucketCount).map { word(at: Self.histogramWord + $0) }
    account.latency =
      LatencyHistogram(
        buckets: buckets, maximumNanoseconds: word(at: Self.longestWord)
      ).summary
    account.blocktime = .nanoseconds(Int64(clamping: word(at: Self.blocktimeWord)))
    account.blocktimeByProcessor = (0..<min(processorCount, Self.processorLimit)).map {
      .nanoseconds(Int64(clamping: word(at: Self.processorWord + $0)))
    }
    return account
  }

  fileprivate func count(latency nanoseconds: UInt64) {
    let bucket = Self.histogramWord + LatencyHistogram.bucket(of: nanoseconds)
    setWord(at: bucket, word(at: bucket) + 1)
    setWord(at: Self.longestWord, max(word(at: Self.longestWord), nanoseconds))
  }

  fileprivate func store(blocktime: Duration, byProcessor: [Duration]) {
    setWord(at: Self.blocktimeWord, UInt64(clamping: blocktime.wholeNanoseconds))
    for (index, time) in byProcessor.prefix(Self.processorLimit).enumerated() {
      setWord(at: Self.processorWord + index, UInt64(clamping: time.wholeNanoseconds))
    }
  }
}

extension Duration {
  /// The whole nanoseconds in it.
  fileprivate var wholeNanoseconds: Int64 {
    components.seconds * 1_000_000_000 + components.attoseconds / 1_000_000_000
  }
}
