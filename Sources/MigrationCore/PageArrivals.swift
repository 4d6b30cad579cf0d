// Which pages a running destination has, which its guest waits for, and what it asks for: the
// memory of a postcopy as its destination sees it. No descriptor, no thread, no clock.

public import Wire

/// The pages of a machine that runs before all of its memory is there.
///
/// Pages travel in target pages and are placed in the pages that back their block, which may be
/// larger: such a page is there once all of it is. Whatever names a page to be placed or asked for
/// names it by its first byte.
public struct PageArrivals: Sendable {
  /// What a fault of the guest calls for.
  public enum Answer: Sendable, Equatable {
    /// Ask the source for the page.
    case request(ReturnPathMessage)
    /// The page was asked for and is on its way; its arrival wakes everyone.
    case awaited
    /// The page had arrived: whoever waits is to be woken, and what was discarded since is zeros.
    case present
  }

  /// What a target page that came makes of the page that it is a part of.
  public enum Progress: Sendable, Equatable {
    /// More of the page has to come.
    case partial
    /// All of the page came.
    case whole(RAMPageAddress)
    /// Nothing: the page is there, or comes over the other channel, which was faster. To be
    /// dropped.
    case superfluous
  }

  /// Which connection of a link a page comes over.
  public enum Channel: Int, Sendable, CaseIterable {
    /// That of the stream.
    case main
    /// That of requested pages (`postcopy-preempt`).
    case preempt
  }

  /// Something the source did that would break the machine's memory.
  public struct Violation: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was called for, and what came: a sentence.
    public let description: String
  }

  /// One block's pages.
  struct Block: Sendable {
    let name: String
    let byteCount: UInt64
    /// The size of the pages that back it, in bytes.
    let pageSize: UInt64
    /// Target pages that are in place.
    var arrived: PageBitmap
    /// Target pages that the source took back, which is to say that it will send them, and that
    /// have not come since.
    var owed: PageBitmap
    /// Backing pages that were asked for.
    var requested: PageBitmap
  }

  /// How often the guest had to wait for a page that nobody had asked for yet.
  public private(set) var requestCount: UInt64 = 0
  /// Target pages that have not arrived.
  public private(set) var missingCount: Int
  /// Whether requested pages have a channel of their own, so that what comes over one may overtake
  /// what comes over the other: then the first of two copies of a page counts.
  ///
  /// Over a single channel a second copy can only be its source's mistake, and is refused.
  public var hasTwoChannels = false

  private let targetPageSize: UInt64
  private var blocks: [Block]
  /// The block that the last request on this link named; later ones may leave the name out.
  private var namedBlock: Int?
  /// For each channel, the backing page that comes just now, and the target page that has to come
  /// next.
  private var gathering: [(page: RAMPageAddress, next: UInt64)?] = Channel.allCases.map { _ in nil }

  /// Nothing has arrived, or what `kept` says.
  ///
  /// - Parameters:
  ///   - blocks: as the source announced them; their lengths are multiples of their page size.
  ///   - targetPageSize: the size of the stream's pages, in bytes.
  ///   - pageSizes: the size of the pages that back each block, in bytes; none smaller than the
  ///     target page. Where there are fewer than blocks, the target page's.
  ///   - kept: for each block, the target pages that are in place and those that are owed.
  public init(
    blocks: [RAMBlockDescription], targetPageSize: Int, pageSizes: [Int] = [],
    kept: [KeptPages] = []
  ) {
    self.targetPageSize = UInt64(targetPageSize)
    self.blocks = blocks.enumerated().map { index, block in
      let pageSize = index < pageSizes.count ? pageSizes[index] : targetPageSize
      let none = PageBitmap(pageCount: Int(block.usedLength) / targetPageSize)
      let kept = index < kept.count ? kept[index] : KeptPages(arrived: none, owed: none)
      return Block(
        name: block.name, byteCount: block.usedLength, pageSize: UInt64(pageSize),
        arrived: kept.arrived, owed: kept.owed.subtracting(kept.arrived),
        requested: PageBitmap(pageCount: Int(block.usedLength) / pageSize))
    }
    missingCount = self.blocks.reduce(0) { $0 + $1.arrived.pageCount - $1.arrived.memberCount }
  }

  /// What is known of a block's pages when a postcopy is carried on.
  public struct KeptPages: Sendable {
    /// Target pages that are in place.
    public var arrived: PageBitmap
    /// Target pages that the source has taken back, to send them later; some may have come since.
    public var owed: PageBitmap

    /// What is known of a block, for both of which it has as many pages.
    public init(arrived: PageBitmap, owed: PageBitmap) {
      self.arrived = arrived
      self.owed = owed
    }
  }

  /// A page that may come any number of times, as before the machine runs, has been put in place.
  public mutating func place(_ page: RAMPageAddress) {
    note(number(of: page), ofBlock: page.blockIndex)
  }

  private mutating func note(_ number: Int, ofBlock index: Int) {
    if blocks[index].arrived.insert(number) { missingCount -= 1 }
    blocks[index].owed.remove(number)
  }

  /// Whether a target page has arrived.
  public func has(_ page: RAMPageAddress) -> Bool {
    blocks[page.blockIndex].arrived.contains(number(of: page))
  }

  // MARK: While the machine runs

  /// A target page comes; it may be put in place, where nobody sees it yet.
  ///
  /// - Returns: whether that makes the page that backs it whole: then ``arrive(_:)`` follows,
  ///   before anything else is taken.
  /// - Throws: ``Violation`` where it was there already: the guest may have written to it; or
  ///   where it comes in the middle of another page of its channel, or out of its order in its own.
  public mutating func take(
    _ page: RAMPageAddress, over channel: Channel = .main
  ) throws(Violation) -> Progress {
    let block = blocks[page.blockIndex]
    let isSmall = block.pageSize == targetPageSize
    if isSmall, block.arrived.contains(number(of: page)) { return try repeated(page) }
    let gathering = self.gathering[channel.rawValue]
    guard !isSmall || gathering != nil else { return .whole(page) }
    let first = RAMPageAddress(
      blockIndex: page.blockIndex, offset: page.offset / block.pageSize * block.pageSize)
    if isPresent(first) { return try repeated(page) }
    // Both would fill the same memory, and the slower one while the guest uses it already.
    if comes(first, over: channel == .main ? .preempt : .main) { return .superfluous }
    let expected = gathering?.page == first ? gathering?.next : nil
    guard page.offset == expected ?? first.offset, gathering == nil || expected != nil else {
      throw Violation(
        description: "The source sent the page at \(page.offset) of block '\(block.name)' in the "
          + "middle of another page of \(block.pageSize) bytes, which has to come whole.")
    }
    let next = page.offset + targetPageSize
    let isWhole = next == first.offset + block.pageSize
    self.gathering[channel.rawValue] = isWhole ? nil : (first, next)
    return isWhole ? .whole(first) : .partial
  }

  /// A page that backs a block has been put in place, whole.
  ///
  /// - Returns: whether somebody waits for it.
  public mutating func arrive(_ page: RAMPageAddress) -> Bool {
    let pageSize = blocks[page.blockIndex].pageSize
    let first = number(of: page)
    for number in first..<first + Int(pageSize / targetPageSize) {
      note(number, ofBlock: page.blockIndex)
    }
    return blocks[page.blockIndex].requested.remove(Int(page.offset / pageSize))
  }

  /// The guest, or something that works for it, waits for a page.
  public mutating func fault(_ page: RAMPageAddress) -> Answer {
    if isPresent(page) { return .present }
    let pageSize = blocks[page.blockIndex].pageSize
    guard blocks[page.blockIndex].requested.insert(Int(page.offset / pageSize)) else {
      return .awaited
    }
    requestCount += 1
    return .request(request(page))
  }

  /// What was asked for and has not come, to be asked for again over a new link.
  ///
  /// What came of a page that is not whole is forgotten: the source sends it again.
  public mutating func requestsAgain() -> [ReturnPathMessage] {
    namedBlock = nil
    for channel in gathering.indices { gathering[channel] = nil }
    var messages: [ReturnPathMessage] = []
    for index in blocks.indices {
      let requested = blocks[index].requested
      var next = 0
      while let page = requested.firstMember(in: next..<requested.pageCount) {
        let offset = UInt64(page) * blocks[index].pageSize
        messages.append(request(RAMPageAddress(blockIndex: index, offset: offset)))
        next = page + 1
      }
    }
    return messages
  }

  // MARK: What is owed

  /// The source takes back what it sent of some ranges of a block, and owes it from now on.
  ///
  /// - Returns: the block's number and the ranges, in bytes, that are to be emptied.
  /// - Throws: ``Violation`` for a block or a range that there is not.
  public mutating func discard(
    block name: String, _ ranges: [RAMDiscardRange]
  ) throws(Violation) -> (blockIndex: Int, ranges: [Range<UInt64>]) {
    guard let index = blocks.firstIndex(where: { $0.name == name }) else {
      throw Violation(
        description: "The source discards pages of a block '\(name)' that it did not announce.")
    }
    let (length, pageSize) = (blocks[index].byteCount, blocks[index].pageSize)
    for range in ranges {
      guard range.start % pageSize == 0, range.length % pageSize == 0, range.start <= length,
        range.length <= length - range.start
      else {
        throw Violation(
          description: "The source discards \(range.length) bytes at \(range.start) of block "
            + "'\(name)', which has \(length) bytes in pages of \(pageSize).")
      }
    }
    for range in ranges {
      let end = Int((range.start + range.length) / targetPageSize)
      var next = Int(range.start / targetPageSize)
      blocks[index].owed.insert(next..<end)
      while let page = blocks[index].arrived.firstMember(in: next..<end) {
        if blocks[index].arrived.remove(page) { missingCount += 1 }
        next = page + 1
      }
    }
    return (index, ranges.map { $0.start..<$0.start + $0.length })
  }

  /// How many target pages the source has said it would send and has not sent.
  public var owedCount: Int {
    blocks.indices.reduce(0) { $0 + blocks[$1].owed.memberCount }
  }

  /// What never came, in bytes of each block: zeros, once the source has ended.
  public func missingRanges() -> [(blockIndex: Int, range: Range<UInt64>)] {
    blocks.enumerated().flatMap { index, block in
      block.arrived.runs(in: 0..<block.arrived.pageCount, ofMembers: false).map { run in
        (
          index, UInt64(run.lowerBound) * targetPageSize..<UInt64(run.upperBound) * targetPageSize
        )
      }
    }
  }

  /// Which pages of a block have arrived, as a recovering source asks for it.
  ///
  /// - Throws: ``Violation`` for a block that there is not.
  public func bitmap(ofBlock name: String) throws(Violation) -> ReceivedBitmap {
    guard let pages = blocks.first(where: { $0.name == name })?.arrived else {
      throw Violation(
        description: "The source asks what has arrived of a block '\(name)' that it did not "
          + "announce.")
    }
    var bitmap = ReceivedBitmap(pageCount: pages.pageCount)
    var next = 0
    while let page = pages.firstMember(in: next..<pages.pageCount) {
      bitmap[page] = true
      next = page + 1
    }
    return bitmap
  }

  // MARK: Parts

  /// Whether all of a page that backs a block is there.
  private func isPresent(_ page: RAMPageAddress) -> Bool {
    let block = blocks[page.blockIndex]
    let first = number(of: page)
    guard block.pageSize != targetPageSize else { return block.arrived.contains(first) }
    let pages = first..<first + Int(block.pageSize / targetPageSize)
    return block.arrived.firstNonMember(in: pages) == nil
  }

  /// Whether a page is being gathered over a channel.
  private func comes(_ page: RAMPageAddress, over channel: Channel) -> Bool {
    gathering[channel.rawValue]?.page == page
  }

  /// What a page is that was there already.
  private func repeated(_ page: RAMPageAddress) throws(Violation) -> Progress {
    if hasTwoChannels { return .superfluous }
    throw Violation(
      description: "The source sent the page at \(page.offset) of block "
        + "'\(blocks[page.blockIndex].name)' twice, and what the guest wrote to it since would be "
        + "lost.")
  }

  private mutating func request(_ page: RAMPageAddress) -> ReturnPathMessage {
    let name = namedBlock == page.blockIndex ? nil : blocks[page.blockIndex].name
    namedBlock = page.blockIndex
    return .requestPages(
      block: name, start: page.offset, length: UInt32(blocks[page.blockIndex].pageSize))
  }

  private func number(of page: RAMPageAddress) -> Int { Int(page.offset / targetPageSize) }
}
