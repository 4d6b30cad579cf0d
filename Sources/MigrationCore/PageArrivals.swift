// Which pages a running destination has, which its guest waits for, and what it asks for: the
// memory of a postcopy as its destination sees it. No descriptor, no thread, no clock.

public import Wire

/// The pages of a machine that runs before all of its memory is there.
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

  /// Something the source did that would break the machine's memory.
  public struct Violation: Error, Equatable, Sendable, CustomStringConvertible {
    /// What was called for, and what came: a sentence.
    public let description: String
  }

  /// How often the guest had to wait for a page that nobody had asked for yet.
  public private(set) var requestCount: UInt64 = 0
  /// Pages that have not arrived.
  public private(set) var missingCount: Int

  private let blocks: [RAMBlockDescription]
  private let pageSize: UInt64
  private var arrived: [PageBitmap]
  private var requested: [PageBitmap]
  /// The block that the last request on this link named; later ones may leave the name out.
  private var namedBlock: Int?

  /// Nothing has arrived.
  ///
  /// Every block is made of pages of `pageSize` bytes, here and in the stream.
  public init(blocks: [RAMBlockDescription], pageSize: Int) {
    self.blocks = blocks
    self.pageSize = UInt64(pageSize)
    arrived = blocks.map { PageBitmap(pageCount: Int($0.usedLength) / pageSize) }
    requested = arrived
    missingCount = arrived.reduce(0) { $0 + $1.pageCount }
  }

  /// A page has been put in place.
  ///
  /// - Throws: ``Violation`` where it was there already: the guest may have written to it.
  public mutating func arrive(_ page: RAMPageAddress) throws(Violation) {
    guard insert(page) else {
      throw Violation(
        description: "The source sent the page at \(page.offset) of block "
          + "'\(blocks[page.blockIndex].name)' twice, and what the guest wrote to it since would "
          + "be lost.")
    }
  }

  /// A page that may come any number of times, as before the machine runs, has been put in place.
  public mutating func place(_ page: RAMPageAddress) { _ = insert(page) }

  /// Whether a page has arrived.
  public func has(_ page: RAMPageAddress) -> Bool {
    arrived[page.blockIndex].contains(number(of: page))
  }

  /// The source takes back what it sent of some ranges of a block.
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
    var discarded: [Range<UInt64>] = []
    for range in ranges {
      let length = blocks[index].usedLength
      guard range.start % pageSize == 0, range.length % pageSize == 0, range.start <= length,
        range.length <= length - range.start
      else {
        throw Violation(
          description: "The source discards \(range.length) bytes at \(range.start) of block "
            + "'\(name)', which has \(length) bytes in pages of \(pageSize).")
      }
      let end = Int((range.start + range.length) / pageSize)
      var next = Int(range.start / pageSize)
      while let page = arrived[index].firstMember(in: next..<end) {
        if arrived[index].remove(page) { missingCount += 1 }
        next = page + 1
      }
      discarded.append(range.start..<range.start + range.length)
    }
    return (index, discarded)
  }

  /// The guest, or something that works for it, waits for a page.
  public mutating func fault(_ page: RAMPageAddress) -> Answer {
    let number = number(of: page)
    if arrived[page.blockIndex].contains(number) { return .present }
    guard requested[page.blockIndex].insert(number) else { return .awaited }
    requestCount += 1
    return .request(request(page))
  }

  /// What was asked for and has not come, to be asked for again over a new link.
  public mutating func requestsAgain() -> [ReturnPathMessage] {
    namedBlock = nil
    var messages: [ReturnPathMessage] = []
    for index in requested.indices {
      var next = 0
      let count = requested[index].pageCount
      while let page = requested[index].firstMember(in: next..<count) {
        messages.append(
          request(RAMPageAddress(blockIndex: index, offset: UInt64(page) * pageSize)))
        next = page + 1
      }
    }
    return messages
  }

  /// Which pages of a block have arrived, as a recovering source asks for it.
  ///
  /// - Throws: ``Violation`` for a block that there is not.
  public func bitmap(ofBlock name: String) throws(Violation) -> ReceivedBitmap {
    guard let index = blocks.firstIndex(where: { $0.name == name }) else {
      throw Violation(
        description: "The source asks what has arrived of a block '\(name)' that it did not "
          + "announce.")
    }
    let pages = arrived[index]
    var bitmap = ReceivedBitmap(pageCount: pages.pageCount)
    var next = 0
    while let page = pages.firstMember(in: next..<pages.pageCount) {
      bitmap[page] = true
      next = page + 1
    }
    return bitmap
  }

  private mutating func insert(_ page: RAMPageAddress) -> Bool {
    let number = number(of: page)
    guard arrived[page.blockIndex].insert(number) else { return false }
    _ = requested[page.blockIndex].remove(number)
    missingCount -= 1
    return true
  }

  private mutating func request(_ page: RAMPageAddress) -> ReturnPathMessage {
    let name = namedBlock == page.blockIndex ? nil : blocks[page.blockIndex].name
    namedBlock = page.blockIndex
    return .requestPages(block: name, start: page.offset, length: UInt32(pageSize))
  }

  private func number(of page: RAMPageAddress) -> Int { Int(page.offset / pageSize) }
}
