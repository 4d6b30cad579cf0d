// How much the guest writes.

import DirtyTracking
import Glibc
import GuestMemory

extension Machine {
  /// How the machine finds out which pages its guest writes.
  public var dirtyTracking: DirtyTrackingFacts { dirtyLog.facts }

  /// Counts the pages that the guest writes in a period; blocks the calling thread for it.
  public func countDirtyPages(
    during period: Duration, by means: DirtyCounting
  ) throws(MachineError) -> DirtyPageCount {
    let source = dirtyLog.facts.source
    if case .ring = means, source != DirtyLogKind.ring.rawValue {
      throw .configuration(
        "the machine's dirty pages come from '\(source)', not from a ring: start it with "
          + "--dirty-log ring, or count by another mode")
    }
    let log = try dirtyLog.take(for: "a count of dirty pages")
    defer { dirtyLog.giveBack() }
    do throws(GuestMemoryError) {
      try log.start()
      let result = Result { () throws(GuestMemoryError) in try count(during: period, log) }
      try log.stop()
      return try result.get()
    } catch {
      throw .kernel(action: "cannot count dirty pages", reason: "\(error)")
    }
  }

  private func count(
    during period: Duration, _ log: any DirtyLog
  ) throws(GuestMemoryError) -> DirtyPageCount {
    // A log may begin with every page dirty, and has to be armed for each by a first round.
    try log.sync()
    for block in ram.blocks {
      try log.willSend(block.ramRange)
      _ = ram.dirty.clear(block.ramRange, for: .migration)
    }
    let start = ContinuousClock.now
    let (seconds, attoseconds) = period.components
    usleep(UInt32(clamping: seconds * 1_000_000 + attoseconds / 1_000_000_000_000))
    try log.sync()
    var pages = 0
    for block in ram.blocks { pages += ram.dirty.clear(block.ramRange, for: .migration) }
    return DirtyPageCount(pageCount: UInt64(pages), period: ContinuousClock.now - start)
  }
}
