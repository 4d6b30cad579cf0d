// How others keep in step with the guest's memory layout: KVM's slots above all.

/// Follows the flat view of an address space.
///
/// A change is told as: `begin`, then deletions in descending and additions (and what stayed) in
/// ascending order of addresses, then `commit`. All calls come on the thread that commits the
/// transaction, one at a time. The range deleted last is still mapped while it is told: its memory
/// and the dirty bits that a slot may still hold can be read.
public protocol MemoryListener: AnyObject, Sendable {
  /// What it is, for errors: "KVM's memory slots".
  var listenerName: String { get }

  /// A change begins.
  func begin()

  /// All of a change has been told; the first failure among it is thrown here.
  func commit() throws(GuestMemoryError)

  /// A range appeared.
  func regionAdded(_ range: FlatRange)

  /// A range disappeared, or changed in more than who logs it.
  func regionDeleted(_ range: FlatRange)

  /// A range stayed as it was.
  func regionUnchanged(_ range: FlatRange)

  /// Writes to a range must be noticed for more clients than before.
  /// - Parameters:
  ///   - range: as it is now.
  ///   - old: whom its writes were noticed for; `range.logClients` says for whom from now on.
  func logStart(_ range: FlatRange, from old: DirtyClients)

  /// Writes to a range need be noticed for fewer clients than before; parameters as `logStart`.
  func logStop(_ range: FlatRange, from old: DirtyClients)

  /// Writes noticed in a range have to be in the bitmaps when this returns.
  func logSync(_ range: FlatRange) throws(GuestMemoryError)

  /// Writes noticed anywhere have to be in the bitmaps when this returns.
  ///
  /// Where there is no better way (a ring has one), `logSync` is called for each logged range.
  func logSyncAll(_ view: FlatView) throws(GuestMemoryError)

  /// Tracking of a part of a range has to be armed again: its pages are about to be read.
  /// - Parameters:
  ///   - range: the range, as it is now.
  ///   - part: bytes from the beginning of `range`, whole pages.
  func logClear(_ range: FlatRange, part: Range<UInt64>) throws(GuestMemoryError)
}

extension MemoryListener {
  /// Does nothing.
  public func begin() {}
  /// Does nothing.
  public func commit() throws(GuestMemoryError) {}
  /// Does nothing.
  public func regionAdded(_ range: FlatRange) {}
  /// Does nothing.
  public func regionDeleted(_ range: FlatRange) {}
  /// Does nothing.
  public func regionUnchanged(_ range: FlatRange) {}
  /// Does nothing.
  public func logStart(_ range: FlatRange, from old: DirtyClients) {}
  /// Does nothing.
  public func logStop(_ range: FlatRange, from old: DirtyClients) {}
  /// Does nothing.
  public func logSync(_ range: FlatRange) throws(GuestMemoryError) {}
  /// Calls `logSync` for every range of RAM that is logged.
  public func logSyncAll(_ view: FlatView) throws(GuestMemoryError) {
    for range in view.ranges where !range.logClients.isEmpty { try logSync(range) }
  }
  /// Does nothing.
  public func logClear(_ range: FlatRange, part: Range<UInt64>) throws(GuestMemoryError) {}
}
