// The order in which pages go out unasked, noted as runs while it happens.

internal import Wire

/// Collects the runs of pages that were sent unasked.
struct BroughtRuns: Sendable {
  private(set) var runs: [RAMPageRun] = []
  /// Host pages noted, those included that found no room among the runs.
  private(set) var pageCount: UInt64 = 0
  private var lastPriority = PagePriority.requested

  /// Takes note of a page that goes out now.
  ///
  /// A page further on in the same block, sent for the same reason as the one before it, belongs
  /// to the same run: what lies between went out earlier, or it would have come first.
  mutating func note(_ page: ScheduledPage) {
    guard page.priority == .neighbour || page.priority == .background else {
      // Those that were asked for are remembered one by one, and zeros need no order; both may lie
      // inside a run.
      return
    }
    pageCount += 1
    let end = page.address.offset + UInt64(page.byteCount)
    if let last = runs.last, last.start.blockIndex == page.address.blockIndex,
      lastPriority == page.priority, page.address.offset >= last.start.offset + last.byteCount
    {
      runs[runs.count - 1].byteCount = end - last.start.offset
    } else if runs.count < DemandOrder.Limits.runs {
      runs.append(RAMPageRun(start: page.address, byteCount: UInt64(page.byteCount)))
    } else {
      return
    }
    lastPriority = page.priority
  }
}
