// Freeing what no listed checkpoint needs.

import Glibc

extension Store {
  /// Frees what no listed checkpoint needs: pages, packs, left-overs of saves that never ended.
  ///
  /// No save can be going on meanwhile: a new one waits, one that has begun is waited for. Restores
  /// are not disturbed: what an open checkpoint needs stays, even if it has been deleted.
  ///
  /// - Parameters:
  ///   - waitSeconds: how long to wait for saves that are going on, before `StoreError.busy`
  ///     names their processes.
  ///   - progress: told how many packs have been gone through, of how many.
  public func collect(
    waitSeconds: Double = 0, progress: (StoreProgress) -> Void = { _ in }
  ) throws(StoreError) -> CollectReport {
    let lock = try waitForWriters(waitSeconds)
    defer { withExtendedLifetime(lock) {} }
    return try withPublishLock { () throws(StoreError) in
      if let damage = try catalogue.checkSeal() { throw .damaged(damage) }
      let before = try diskBytes()
      var report = CollectReport()
      let listed = Set(try catalogue.rows().map(\.info.id))
      let live = try referencedPages { _ in true }
      try removeSessions(&report)
      try removeUnlisted(listed, live)
      let collection = Collection(store: self, live: live)
      try collection.run(&report, progress)
      let after = try diskBytes()
      report.bytesFreed = before > after ? before - after : 0
      return report
    }
  }

  private func diskBytes() throws(StoreError) -> UInt64 {
    var total: UInt64 = 0
    for folder in StoreLayout.folders {
      total += try Folder.allocatedByteCount(layout.root + "/" + folder)
    }
    return total
  }

  /// The lock that keeps saves out; waits, and in the end says for whom.
  private func waitForWriters(_ seconds: Double) throws(StoreError) -> FileLock {
    let step = 0.05
    var left = seconds
    while true {
      if let lock = try FileLock.attempt(layout.writersLock, .exclusive) { return lock }
      guard left > 0 else {
        throw .busy(doing: "freeing what is not needed in \(path)", holders: try livingWriters())
      }
      usleep(UInt32(step * 1e6))
      left -= step
    }
  }

  /// The processes that have a save under way.
  func livingWriters() throws(StoreError) -> [Int32] {
    var owners: [Int32] = []
    for name in try Folder.names(in: layout.sessions) {
      if let owner = try WriterSession.livingOwner(layout.session(name)) { owners.append(owner) }
    }
    return owners
  }

  private func removeSessions(_ report: inout CollectReport) throws(StoreError) {
    for name in try Folder.names(in: layout.sessions) {
      try Folder.remove(layout.session(name))
      report.sessionsRemoved += 1
    }
  }

  /// Removes files of checkpoints that are not listed; of those that somebody has open, only marks
  /// the pages.
  private func removeUnlisted(_ listed: Set<String>, _ live: AtomicBits) throws(StoreError) {
    for name in try Folder.names(in: layout.checkpoints) {
      let id = String(name.prefix { $0 != "." })
      let path = layout.checkpoints + "/" + name
      if listed.contains(id) && !name.hasSuffix(".draft") { continue }
      if name.hasSuffix(".manifest") {
        let file = try File.open(path, O_RDONLY)
        if try !FileLock.attempt(on: file, .exclusive) {
          if let manifest = try Manifest.open(path, name: name, digest: nil) {
            try mark(manifest, in: live)
          }
          continue
        }
        try Folder.removeFile(path)
      } else {
        try Folder.removeFile(path)
      }
    }
    let boot = Checkpoint.bootTag()
    for name in try Folder.names(in: layout.images) {
      let parts = name.split(separator: "-")
      let isCurrent =
        parts.count == 3 && listed.contains(String(parts[0]))
        && parts[2].hasPrefix(boot)
      if !isCurrent || name.hasSuffix(".draft") {
        try Folder.removeFile(layout.images + "/" + name)
      }
    }
  }
}
