// How far a migration has come, as numbers that any thread may read while it runs.

public import MigrationCore
internal import Synchronization

/// The counts of a migration at one moment.
public struct MigrationProgress: Sendable, Equatable {
  /// Where it stands.
  public var status: MigrationStatus = .none
  /// Bytes of RAM that were announced and are to be moved.
  public var totalRAMBytes: UInt64 = 0
  /// Bytes read from the channel.
  public var bytesReceived: UInt64 = 0
  /// Bytes written to the channel.
  public var bytesSent: UInt64 = 0
  /// Target pages that held only zeros.
  public var zeroPages: UInt64 = 0
  /// Target pages that travelled whole.
  public var normalPages: UInt64 = 0
  /// Target pages that travelled as a delta.
  public var deltaPages: UInt64 = 0
  /// Target pages that do not travel because nobody needs their content (a source knows).
  public var excludedPages: UInt64 = 0
  /// Pages that travelled as the hash of what the destination holds, each time they did.
  public var hashedPages: UInt64 = 0
  /// Pages of these that the destination did not hold after all.
  public var missedPages: UInt64 = 0
  /// Pages that the destination announced to hold (a source knows).
  public var announcedPages: UInt64 = 0
  /// How often the source went through memory; 1 during the first time.
  public var passCount: UInt64 = 0
  /// Requests for pages that the guest waited for.
  public var pageRequests: UInt64 = 0
  /// Host pages that went out unasked.
  public var pagesPushed: UInt64 = 0
  /// Bytes of RAM not yet moved, where that is known (a source always knows).
  public var remainingRAMBytes: UInt64 = 0

  /// Bytes of content that did not have to travel because the destination held them.
  public var savedBytes: UInt64 { (hashedPages - min(missedPages, hashedPages)) * 4096 }

  /// Counts of a migration that has not begun.
  public init() {}
}

/// The live counters behind `MigrationProgress`: written by the engine's threads, read by any.
final class ProgressCounters: Sendable {
  let status = Mutex(StatusLine())
  let totalRAMBytes = Atomic<UInt64>(0)
  let bytesReceived = Atomic<UInt64>(0)
  let bytesSent = Atomic<UInt64>(0)
  let zeroPages = Atomic<UInt64>(0)
  let normalPages = Atomic<UInt64>(0)
  let deltaPages = Atomic<UInt64>(0)
  let excludedPages = Atomic<UInt64>(0)
  let hashedPages = Atomic<UInt64>(0)
  let missedPages = Atomic<UInt64>(0)
  let announcedPages = Atomic<UInt64>(0)
  let passCount = Atomic<UInt64>(0)
  let pageRequests = Atomic<UInt64>(0)
  let pagesPushed = Atomic<UInt64>(0)
  let remainingRAMBytes = Atomic<UInt64>(0)

  private let observer: (@Sendable (MigrationStatus) -> Void)?
  private let untold = Mutex<[MigrationStatus]>([])
  private let telling = Mutex(())

  init(
    from status: MigrationStatus = .none,
    observer: (@Sendable (MigrationStatus) -> Void)? = nil
  ) {
    self.observer = observer
    self.status.withLock { $0 = StatusLine(from: status) }
  }

  /// Takes a step, and tells the observer.
  func advance(to next: MigrationStatus) throws(IllegalTransition) {
    try note(next)
    tell()
  }

  /// Takes a step that ``tell()`` is to follow, once no lock is held that an observer may need.
  func note(_ next: MigrationStatus) throws(IllegalTransition) {
    try status.withLock { (line) throws(IllegalTransition) in
      let before = line.current
      try line.advance(to: next)
      if before != next { untold.withLock { $0.append(next) } }
    }
  }

  /// Tells the observer of every step that it was not told of, in their order; each is told when
  /// this returns, whichever thread does it.
  func tell() {
    telling.withLock { _ in
      while let next = untold.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) { observer?(next) }
    }
  }

  var snapshot: MigrationProgress {
    var progress = MigrationProgress()
    progress.status = status.withLock { $0.current }
    progress.totalRAMBytes = totalRAMBytes.load(ordering: .relaxed)
    progress.bytesReceived = bytesReceived.load(ordering: .relaxed)
    progress.bytesSent = bytesSent.load(ordering: .relaxed)
    progress.zeroPages = zeroPages.load(ordering: .relaxed)
    progress.normalPages = normalPages.load(ordering: .relaxed)
    progress.deltaPages = deltaPages.load(ordering: .relaxed)
    progress.excludedPages = excludedPages.load(ordering: .relaxed)
    progress.hashedPages = hashedPages.load(ordering: .relaxed)
    progress.missedPages = missedPages.load(ordering: .relaxed)
    progress.announcedPages = announcedPages.load(ordering: .relaxed)
    progress.passCount = passCount.load(ordering: .relaxed)
    progress.pageRequests = pageRequests.load(ordering: .relaxed)
    progress.pagesPushed = pagesPushed.load(ordering: .relaxed)
    progress.remainingRAMBytes = remainingRAMBytes.load(ordering: .relaxed)
    return progress
  }
}
