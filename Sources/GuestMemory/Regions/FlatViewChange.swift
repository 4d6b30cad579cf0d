// What differs between two flat views, in the order in which listeners are told.

/// The difference between two flat views.
struct FlatViewChange {
  private var deleted: [FlatRange] = []
  /// Added and unchanged ranges in order; `old` is nil for what was added.
  private var present: [(range: FlatRange, old: FlatRange?)] = []

  /// Whether nothing has changed, who logs included.
  private(set) var isEmpty = true

  init(from old: FlatView, to new: FlatView) {
    var index = 0
    for range in new.ranges {
      // Ranges that end before this one, or start as it does and differ, are gone.
      while index < old.ranges.count, old.ranges[index].guest.start < range.guest.start {
        deleted.append(old.ranges[index])
        index += 1
      }
      if index < old.ranges.count, old.ranges[index].isSameMapping(as: range) {
        if old.ranges[index].logClients != range.logClients { isEmpty = false }
        present.append((range, old.ranges[index]))
        index += 1
      } else {
        present.append((range, nil))
        isEmpty = false
      }
    }
    deleted += old.ranges[index...]
    if !deleted.isEmpty { isEmpty = false }
  }

  /// Tells a listener: deletions from the top down, then what is there from the bottom up.
  func tell(_ listener: any MemoryListener) throws(GuestMemoryError) {
    listener.begin()
    for range in deleted.reversed() {
      if !range.logClients.isEmpty { listener.logStop(range, from: range.logClients) }
      listener.regionDeleted(range)
    }
    for (range, old) in present {
      guard let old else {
        listener.regionAdded(range)
        if !range.logClients.isEmpty { listener.logStart(range, from: []) }
        continue
      }
      listener.regionUnchanged(range)
      if !range.logClients.subtracting(old.logClients).isEmpty {
        listener.logStart(range, from: old.logClients)
      }
      if !old.logClients.subtracting(range.logClients).isEmpty {
        listener.logStop(range, from: old.logClients)
      }
    }
    try listener.commit()
  }
}
