// The walk over all memory that runs when nobody waits: once over every page, then once more over
// the pages that the first pass put off.

/// A cursor over the pages that were not sent, block after block.
struct BackgroundWalk: Sendable {
  private let blockOrder: [Int]
  private var position = 0
  private var page = 0
  /// Whether the pages that were put off are being visited.
  private(set) var isSecondPass = false

  init(blockOrder: [Int]) {
    self.blockOrder = blockOrder
  }

  /// The next page that was not sent; nothing once both passes are through.
  mutating func next(sent: [PageBitmap]) -> (blockIndex: Int, page: Int)? {
    while true {
      guard position < blockOrder.count else {
        if isSecondPass { return nil }
        isSecondPass = true
        position = 0
        page = 0
        continue
      }
      let blockIndex = blockOrder[position]
      let end = sent[blockIndex].pageCount
      if page < end, let found = sent[blockIndex].firstNonMember(in: page..<end) {
        page = found + 1
        return (blockIndex, found)
      }
      position += 1
      page = 0
    }
  }
}
