// Pages that came as hashes of what a destination turned out not to hold: what it tells its source,
// and which of them have not come with their content yet.

public import Wire

/// The pages that a destination asked for again.
public struct MissedPages: Sendable {
  private let blocks: [RAMBlockDescription]
  private let pageSize: UInt64
  private var missing: [PageBitmap]
  /// Pages that the source was not told of yet, in the order in which they were missed.
  private var untold: [RAMPageAddress] = []

  /// Nothing is missed; all blocks have pages of `pageSize` bytes.
  public init(blocks: [RAMBlockDescription], pageSize: Int) {
    self.blocks = blocks
    self.pageSize = UInt64(pageSize)
    missing = blocks.map { PageBitmap(pageCount: Int($0.usedLength / UInt64(pageSize))) }
  }

  /// Pages whose content has not come.
  public var count: Int { missing.reduce(0) { $0 + $1.memberCount } }

  /// A page came as a hash of what is not here.
  public mutating func miss(_ page: RAMPageAddress) {
    missing[page.blockIndex].insert(Int(page.offset / pageSize))
    untold.append(page)
  }

  /// A page came whole, or as a hash of what is here.
  public mutating func arrive(_ page: RAMPageAddress) {
    guard missing[page.blockIndex].memberCount > 0 else { return }
    missing[page.blockIndex].remove(Int(page.offset / pageSize))
  }

  /// The source takes pages back, and will send them when the machine runs.
  public mutating func discard(block name: String, _ ranges: [RAMDiscardRange]) {
    guard let index = blocks.firstIndex(where: { $0.name == name }) else { return }
    for range in ranges {
      let length = blocks[index].usedLength
      let start = min(range.start, length)
      let end = Int((start + min(range.length, length - start)) / pageSize)
      var next = Int(start / pageSize)
      while let page = missing[index].firstMember(in: next..<max(next, end)) {
        missing[index].remove(page)
        next = page + 1
      }
    }
  }

  /// What the source has to be told: to go out before any answer to what it sent afterwards.
  public mutating func takeMessages() -> [ReturnPathMessage] {
    var messages: [ReturnPathMessage] = []
    var start = 0
    while start < untold.count {
      let block = untold[start].blockIndex
      var end = start
      while end < untold.count, untold[end].blockIndex == block,
        end - start < ReturnPathMessage.missedPageLimit
      {
        end += 1
      }
      messages.append(
        .missedPages(block: blocks[block].name, offsets: untold[start..<end].map(\.offset)))
      start = end
    }
    untold.removeAll(keepingCapacity: true)
    return messages
  }
}
