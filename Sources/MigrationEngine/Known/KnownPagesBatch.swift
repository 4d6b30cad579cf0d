// A few pages that came as hashes, read from what is held here and compared.

internal import MigrationCore
internal import PageHash
internal import Wire

/// Pages that are read and compared together; one thread at a time uses a batch.
final class KnownPagesBatch: @unchecked Sendable {
  /// How many pages it has at most: what fits the cache that a processor has for itself, and is
  /// enough for handing it to another thread not to count.
  static let pageCount = 128

  private(set) var pages: [RAMPageAddress] = []
  private var hashes: [ContentHash] = []
  /// Which pages are here, once they were looked for.
  private(set) var isHere: [Bool] = []
  /// The pages in their order, and those that are being looked at.
  private var room = PageRoom(pageCount: pageCount)
  private var spare = PageRoom(pageCount: pageCount)

  var isEmpty: Bool { pages.isEmpty }
  var isFull: Bool { pages.count == Self.pageCount }

  func add(_ page: RAMPageAddress, _ hash: ContentHash) {
    pages.append(page)
    hashes.append(hash)
  }

  func clear() {
    pages.removeAll(keepingCapacity: true)
    hashes.removeAll(keepingCapacity: true)
    isHere = []
  }

  /// Lends a page that is here.
  func withPage<R>(_ index: Int, _ body: (RawSpan) throws -> R) rethrows -> R {
    try room.withBytes { bytes in
      let start = index * knownPageByteCount
      return try body(bytes.extracting(start..<start + knownPageByteCount))
    }
  }

  /// Reads the pages and compares all of their hashes.
  func find(in contents: [any KnownContent], _ digester: Digester) {
    isHere = [Bool](repeating: false, count: pages.count)
    // The first content that has a hash may have changed since: then the next one is asked.
    for content in contents {
      let wanted = pages.indices.filter { !isHere[$0] }
      guard !wanted.isEmpty else { break }
      let count = wanted.count * knownPageByteCount
      let found = spare.withMutableBytes { room in
        var part = room._mutatingExtracting(first: count)
        return content.read(wanted.map { hashes[$0] }, into: &part)
      }
      guard found.contains(true) else { continue }
      let computed = spare.withBytes { digester.hashPages($0.extracting(first: count)) }
      if wanted.count == pages.count { swap(&room, &spare) }
      for (place, index) in wanted.enumerated() where computed[place] == hashes[index] {
        isHere[index] = true
        if wanted.count < pages.count { room.copyPage(place, of: spare, to: index) }
      }
    }
  }
}
