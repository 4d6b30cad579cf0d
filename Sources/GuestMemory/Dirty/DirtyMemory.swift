// The dirty bitmaps of the whole RAM address space, for three clients.

internal import Synchronization

/// Which pages of RAM were written since a client last asked.
///
/// Marking never waits, for a lock or for growth. Merging, harvesting and counting hold a lock of
/// their client. A page's mark is set *after* the page was written: whoever harvests it and then
/// reads the page sees what was written.
public final class DirtyMemory: Sendable {
  private let directory = PieceDirectory()
  private let growth = Mutex<Int>(0)
  private let migrationLock = Mutex<Void>(())
  private let displayLock = Mutex<Void>(())
  private let codeLock = Mutex<Void>(())
  private let enabled = Atomic<UInt8>(0)

  init() {}

  // MARK: Clients

  /// The clients whose bitmaps are kept at present; marks for others are dropped.
  public var enabledClients: DirtyClients {
    DirtyClients(rawValue: enabled.load(ordering: .sequentiallyConsistent))
  }

  /// Begins or ends keeping bitmaps for clients; they keep what they hold.
  public func setEnabled(_ clients: DirtyClients, _ isEnabled: Bool) {
    if isEnabled {
      enabled.bitwiseOr(clients.rawValue, ordering: .sequentiallyConsistent)
    } else {
      enabled.bitwiseAnd(~clients.rawValue, ordering: .sequentiallyConsistent)
    }
  }

  /// Runs `body` with a client's merged layer for itself.
  func withLock<R: ~Copyable>(_ client: DirtyClient, _ body: () -> R) -> R {
    switch client {
    case .migration: migrationLock.withLock { _ in body() }
    case .display: displayLock.withLock { _ in body() }
    case .code: codeLock.withLock { _ in body() }
    }
  }

  // MARK: Growth

  /// How many pages the bitmaps reach at present.
  public var pageCapacity: Int { growth.withLock { $0 } * DirtyPiece.pageCount }

  /// Makes the bitmaps reach `pageCount` pages; readers and markers go on meanwhile.
  func grow(toPageCount pageCount: Int) throws(GuestMemoryError) {
    let needed = (pageCount + DirtyPiece.pageCount - 1) / DirtyPiece.pageCount
    try growth.withLock { count throws(GuestMemoryError) in
      while count < needed {
        directory.publish(try DirtyPiece(), at: count)
        count += 1
      }
    }
  }

  /// The piece that holds the pages from `index` x `DirtyPiece.pageCount` on, if there is one.
  func piece(_ index: Int) -> DirtyPiece? {
    index < PieceDirectory.capacity ? directory[index] : nil
  }

  /// Calls `body` for each piece that a range touches, with the pages of it that it touches.
  ///
  /// Pages beyond what the bitmaps reach belong to no block and are passed over.
  @inline(__always)
  func forEachPiece(of pages: Range<Int>, _ body: (DirtyPiece, Range<Int>) -> Void) {
    var page = pages.lowerBound
    while page < pages.upperBound {
      let index = page / DirtyPiece.pageCount
      let start = index * DirtyPiece.pageCount
      let end = min(pages.upperBound, start + DirtyPiece.pageCount)
      guard let piece = piece(index) else { return }
      body(piece, page - start..<end - start)
      page = end
    }
  }

  // MARK: Marking

  /// Marks pages as written, for the clients among `clients` whose bitmaps are kept.
  ///
  /// Call it after writing. Never waits.
  @inline(__always)
  public func mark(_ range: RAMRange, for clients: DirtyClients = .all) {
    let wanted = clients.intersection(enabledClients)
    if !wanted.isEmpty { markAll(range, wanted) }
  }

  private func markAll(_ range: RAMRange, _ clients: DirtyClients) {
    if clients.contains(.migration) { markAll(range, for: .migration) }
    if clients.contains(.display) { markAll(range, for: .display) }
    if clients.contains(.code) { markAll(range, for: .code) }
  }

  private func markAll(_ range: RAMRange, for client: DirtyClient) {
    forEachPiece(of: range.pages) { piece, pages in
      PageWords.forEach(of: pages) { word, mask in
        piece.mark(word: word, mask: mask, client)
      }
    }
  }

  // MARK: Asking

  /// Whether any page of a range is dirty.
  public func isDirty(_ range: RAMRange, for client: DirtyClient) -> Bool {
    var isDirty = false
    forEachPiece(of: range.pages) { piece, pages in
      withLock(client) {
        PageWords.forEach(of: pages) { word, mask in
          if piece.dirty(word: word, client) & mask != 0 { isDirty = true }
        }
      }
    }
    return isDirty
  }

  /// How many pages of a range are dirty.
  ///
  /// Exact for an instant at which nobody marks; no page is ever counted twice.
  public func dirtyPageCount(_ range: RAMRange, for client: DirtyClient) -> Int {
    var count = 0
    forEachPiece(of: range.pages) { piece, pages in
      let parts = PageWords(pages)
      withLock(client) {
        parts.forEachEdge { word, mask in
          count += (piece.dirty(word: word, client) & mask).nonzeroBitCount
        }
        count += piece.count(parts.whole, client)
      }
    }
    return count
  }

  // MARK: Setting and clearing

  /// Makes every page of a range dirty, at the speed of memory.
  /// - Returns: how many pages were clean before.
  @discardableResult
  public func setAll(_ range: RAMRange, for client: DirtyClient) -> Int {
    var added = 0
    forEachPiece(of: range.pages) { piece, pages in
      let parts = PageWords(pages)
      withLock(client) {
        parts.forEachEdge { word, mask in
          added += piece.merge(word: word, mask: mask, client)
        }
        added += piece.fill(parts.whole, client)
      }
    }
    return added
  }

  /// Makes every page of a range clean.
  /// - Returns: how many pages were dirty.
  @discardableResult
  public func clear(_ range: RAMRange, for client: DirtyClient) -> Int {
    var taken = 0
    forEachPiece(of: range.pages) { piece, pages in
      let parts = PageWords(pages)
      withLock(client) {
        parts.forEachEdge { word, mask in
          taken += piece.take(word: word, mask: mask, client).nonzeroBitCount
        }
        taken += piece.clear(parts.whole, client)
      }
    }
    return taken
  }
}
