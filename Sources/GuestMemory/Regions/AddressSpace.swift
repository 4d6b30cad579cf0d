// A tree of regions, the picture of it that is in force, and those who follow it.

internal import Glibc
internal import Synchronization

/// What the guest's processors and devices address: a tree of memory regions and its flat view.
///
/// Reading the view never waits. Changes are made in transactions, one at a time.
public final class AddressSpace: Sendable {
  private struct Following: Sendable {
    var listeners: [any MemoryListener] = []
    /// For whom writes to all RAM have to be noticed, by how many askers.
    var logCounts: [DirtyClients: Int] = [:]
    var logClients: DirtyClients = []
  }

  /// What it is called.
  public let name: String
  /// The region at address 0.
  public let root: MemoryRegion
  /// The RAM that its regions show.
  public let ram: RAMList

  private let current: SnapshotCell<FlatView>
  private let following = Mutex(Following())
  /// The thread that holds `following`, or 0: transactions of one thread nest.
  private let owner = Atomic<UInt>(0)

  /// An address space that shows a tree as it is now.
  public init(name: String, root: MemoryRegion, ram: RAMList) {
    self.name = name
    self.root = root
    self.ram = ram
    current = SnapshotCell(FlatView(root: root, logClients: []))
  }

  /// The picture in force: what the last transaction left.
  public var view: FlatView { current.value }

  /// Changes the tree; the new picture is in force, and the listeners know it, when this returns.
  ///
  /// A transaction inside another (on the same thread) is a part of it. Where `body` throws, what
  /// it had changed before stays changed.
  /// - Throws: what `body` throws, or else the first failure of a listener. The new picture is in
  ///   force all the same; a machine whose listener failed should not run on.
  public func transaction<R>(
    _ body: () throws(GuestMemoryError) -> R
  ) throws(GuestMemoryError) -> R {
    if owner.load(ordering: .relaxed) == Self.thisThread { return try body() }
    return try exclusively { following throws(GuestMemoryError) in
      let result: Result<R, GuestMemoryError>
      do throws(GuestMemoryError) {
        result = .success(try body())
      } catch {
        result = .failure(error)
      }
      let failure = self.commit(following)
      let value = try result.get()
      if let failure { throw failure }
      return value
    }
  }

  /// Adds a listener, and tells it what is there.
  public func addListener(_ listener: any MemoryListener) throws(GuestMemoryError) {
    try exclusively { following throws(GuestMemoryError) in
      following.listeners.append(listener)
      listener.begin()
      for range in view.ranges {
        listener.regionAdded(range)
        if !range.logClients.isEmpty { listener.logStart(range, from: []) }
      }
      try listener.commit()
    }
  }

  /// Tells a listener that all is gone, and removes it.
  public func removeListener(_ listener: any MemoryListener) throws(GuestMemoryError) {
    try exclusively { following throws(GuestMemoryError) in
      guard let index = following.listeners.firstIndex(where: { $0 === listener }) else { return }
      following.listeners.remove(at: index)
      listener.begin()
      for range in view.ranges.reversed() {
        if !range.logClients.isEmpty { listener.logStop(range, from: range.logClients) }
        listener.regionDeleted(range)
      }
      try listener.commit()
    }
  }

  // MARK: Logging

  /// Has writes to all RAM noticed for a client, from before this returns.
  ///
  /// Calls count: as many `stopLogging` end it. Not to be called inside a transaction.
  /// - Throws: the first failure of a listener. Nothing is noticed for the client then, and there
  ///   is nothing to stop.
  public func startLogging(_ client: DirtyClient) throws(GuestMemoryError) {
    try exclusively { following throws(GuestMemoryError) in
      let clients = DirtyClients(client)
      following.logCounts[clients, default: 0] += 1
      guard !following.logClients.contains(clients) else { return }
      following.logClients.insert(clients)
      // Devices mark what they write before the listeners are told, not after.
      ram.dirty.setEnabled(clients, true)
      guard let failure = commit(following) else { return }
      // Some may notice writes now and some not: nobody is to, or the next who asks would be told
      // that all do.
      following.logCounts[clients] = 0
      following.logClients.remove(clients)
      _ = commit(following)
      ram.dirty.setEnabled(clients, false)
      throw failure
    }
  }

  /// Ends what one `startLogging` began; not to be called inside a transaction.
  public func stopLogging(_ client: DirtyClient) throws(GuestMemoryError) {
    try exclusively { following throws(GuestMemoryError) in
      let clients = DirtyClients(client)
      let count = following.logCounts[clients, default: 0] - 1
      precondition(count >= 0, "logging is stopped as often as it was started")
      following.logCounts[clients] = count
      guard count == 0 else { return }
      following.logClients.remove(clients)
      let failure = commit(following)
      ram.dirty.setEnabled(clients, false)
      if let failure { throw failure }
    }
  }

  /// Has every listener bring what it noticed into the bitmaps.
  public func syncDirtyLog() throws(GuestMemoryError) {
    try exclusively { following throws(GuestMemoryError) in
      for listener in following.listeners { try listener.logSyncAll(view) }
    }
  }

  /// Has every listener arm its tracking of pages again that are about to be read.
  public func clearDirtyLog(_ pages: RAMRange) throws(GuestMemoryError) {
    try exclusively { following throws(GuestMemoryError) in
      let listeners = following.listeners
      try view.forEachRange(showing: pages) { range, part throws(GuestMemoryError) in
        guard !range.logClients.isEmpty else { return }
        for listener in listeners { try listener.logClear(range, part: part) }
      }
    }
  }

  // MARK: Commit

  private static var thisThread: UInt { UInt(pthread_self()) }

  /// Runs `body` with the tree and the listeners for this thread alone.
  private func exclusively<R>(
    _ body: (inout Following) throws(GuestMemoryError) -> R
  ) throws(GuestMemoryError) -> R {
    precondition(
      owner.load(ordering: .relaxed) != Self.thisThread,
      "a listener or a transaction's body changes listeners or logging")
    return try following.withLock { following throws(GuestMemoryError) in
      owner.store(Self.thisThread, ordering: .relaxed)
      defer { owner.store(0, ordering: .relaxed) }
      return try body(&following)
    }
  }

  /// Renders, publishes and tells; the first failure of a listener.
  ///
  /// The new picture is in force before the listeners are told: a vCPU that leaves the guest
  /// because its slot just went finds the new layout.
  private func commit(_ following: Following) -> GuestMemoryError? {
    let old = view
    let new = FlatView(root: root, logClients: following.logClients)
    let change = FlatViewChange(from: old, to: new)
    guard !change.isEmpty else { return nil }
    current.replace(by: new)
    var failure: GuestMemoryError?
    for listener in following.listeners {
      do throws(GuestMemoryError) {
        try change.tell(listener)
      } catch {
        failure = failure ?? error
      }
    }
    return failure
  }
}
