// Pages from an endpoint into an encoder, through one buffer per thread; in groups where the
// endpoint reads those for less.

internal import MigrationCore
internal import PageHash
internal import Synchronization
internal import Wire

/// Reads host pages of an endpoint and appends them as RAM records.
@safe
final class PageReader {
  private let endpoint: any SourceEndpoint
  private let format: SourceFormat
  private let counters: ProgressCounters
  private let known: KnownPagesSender?
  private let digester: Digester?
  /// Room for one page of the largest size, and for a group of small ones.
  private let buffer: UnsafeMutableRawBufferPointer
  private let groups: (any PageGroupReading)?
  /// What was read ahead, in the order of the buffer, and how much of it has been appended.
  private var ahead: [(page: RAMPageAddress, content: PageContent?)] = []
  private var aheadTaken = 0
  private var aheadByteCount = 0

  /// How many pages `readAhead` takes at most.
  static let groupPageCount = 64

  /// - Parameter known: what the destination holds, for pages that may go as hashes.
  init(
    endpoint: any SourceEndpoint, format: SourceFormat, counters: ProgressCounters,
    known: KnownPagesSender? = nil
  ) {
    // Where nothing can be hashed, pages go with their content.
    digester = known == nil ? nil : try? Digester()
    self.known = digester == nil ? nil : known
    self.endpoint = endpoint
    self.format = format
    self.counters = counters
    let largest = format.blocks.reduce(format.targetPageSize) { max($0, Int($1.pageSize ?? 0)) }
    groups = endpoint.makeGroupReader()
    let room = groups == nil ? largest : max(largest, Self.groupPageCount * format.targetPageSize)
    // SAFETY: freed in deinit only; this object never lets the pointer out but to `read`.
    unsafe buffer = .allocate(byteCount: room, alignment: 4096)
  }

  deinit {
    unsafe buffer.deallocate()
  }

  /// Reads pages that are appended next, in this order, together where that is cheaper.
  ///
  /// - Parameters:
  ///   - pages: `groupPageCount` of them at most.
  ///   - byteCount: the size of each.
  func readAhead(_ pages: [RAMPageAddress], byteCount: Int) {
    ahead.removeAll(keepingCapacity: true)
    aheadTaken = 0
    guard let groups, pages.count > 1, pages.count <= Self.groupPageCount,
      byteCount == format.targetPageSize
    else { return }
    aheadByteCount = byteCount
    // SAFETY: the buffer has room for a group of pages of this size.
    let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<(pages.count * byteCount)])
    let contents = unsafe groups.read(pages, byteCount: byteCount, into: room)
    for (page, content) in zip(pages, contents) { ahead.append((page, content)) }
  }

  /// What was read ahead of the next page: its place in the buffer and what it holds.
  private func takeAhead(_ page: RAMPageAddress, byteCount: Int) -> (Int, PageContent)? {
    guard aheadTaken < ahead.count, byteCount == aheadByteCount else { return nil }
    guard ahead[aheadTaken].page == page, let content = ahead[aheadTaken].content else {
      // To be read alone, and that takes the front of the buffer, where the others lie.
      ahead.removeAll(keepingCapacity: true)
      aheadTaken = 0
      return nil
    }
    aheadTaken += 1
    return ((aheadTaken - 1) * byteCount, content)
  }

  /// Appends the records of `byteCount` bytes at `address`: one for each target page, in order.
  ///
  /// Throws what the endpoint threw, having appended nothing.
  /// - Parameter mayHash: whether it may go as its hash.
  /// - Returns: whether it did.
  @discardableResult
  func append(
    _ address: RAMPageAddress, byteCount: Int, mayHash: Bool = false,
    to encoder: inout StreamEncoder
  ) throws -> Bool {
    let readAhead = takeAhead(address, byteCount: byteCount)
    let place = readAhead?.0 ?? 0
    // SAFETY: byteCount is at most the largest page size, which the buffer has, and a page that was
    // read ahead lies in it; the content is read only where the endpoint says that it filled it.
    let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[place..<(place + byteCount)])
    let content: PageContent
    if let known = readAhead?.1 {
      content = known
    } else {
      content = try unsafe endpoint.read(address, byteCount: byteCount, into: room)
    }
    var page = address
    if mayHash, content == .data, byteCount == format.targetPageSize, let known, let digester,
      let hash = known.hash(
        of: page, content: unsafe UnsafeRawBufferPointer(room).bytes, digester)
    {
      try hash.withBytes { try encoder.appendPageHash(page, digest: $0) }
      return true
    }
    for start in stride(from: 0, to: byteCount, by: format.targetPageSize) {
      page.offset = address.offset + UInt64(start)
      switch content {
      case .zero:
        try encoder.appendZeroPage(page)
      case .data:
        let bytes = unsafe UnsafeRawBufferPointer(room).bytes
        try encoder.appendPage(
          page, content: bytes.extracting(start..<start + format.targetPageSize))
      }
    }
    let count = UInt64(byteCount / format.targetPageSize)
    switch content {
    case .zero: counters.zeroPages.add(count, ordering: .relaxed)
    case .data: counters.normalPages.add(count, ordering: .relaxed)
    }
    return false
  }
}
