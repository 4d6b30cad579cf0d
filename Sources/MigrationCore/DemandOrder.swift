// What is remembered of the requests of the guests restored from one checkpoint.

public import Wire

/// The order in which guests asked for pages, carried from one restore to the next.
public enum DemandOrder {
  /// `known`, then what `observed` adds to it, each page once and at most `limit` pages.
  ///
  /// A guest that finds the known pages there gets further and asks for others; those are worth
  /// remembering as well.
  public static func merged(
    _ known: [RAMPageAddress], _ observed: [RAMPageAddress],
    limit: Int = PostcopySource.Limits.observedRequests
  ) -> [RAMPageAddress] {
    var seen: Set<RAMPageAddress> = []
    var order: [RAMPageAddress] = []
    for page in known + observed where order.count < limit && seen.insert(page).inserted {
      order.append(page)
    }
    return order
  }
}
