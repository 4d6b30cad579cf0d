// Which pages of a machine's shared memory hold nothing, looked up a stretch at a time as they go.
//
// What was found once holds only as long as a write since would be noticed and sent: pages are
// looked at after their writes are noticed anew, and forgotten at the next run.

import GuestMemory

/// What was found of one stretch of one block.
struct UntouchedPages {
  /// Pages that are looked at together where they are asked for in order: 2 MiB.
  private static let pagesPerLook = 512

  private var block: RAMBlock?
  /// Where what is found holds while the machine runs.
  private var trusted = 0..<0
  private var looked = 0..<0
  /// The page behind those that were asked for last.
  private var next = 0
  private var untouched: [Range<Int>] = []

  /// Forgets what was found; from now on what is found holds for these pages of a running machine.
  mutating func forget(trusting block: RAMBlock, _ pages: Range<Int>) {
    self.block = block
    trusted = pages
    looked = 0..<0
    next = pages.lowerBound
  }

  /// Whether all of these pages hold nothing, as far as that can be trusted.
  /// - Parameters:
  ///   - pages: page numbers in the block.
  ///   - stands: whether the machine stands still, so that everything can be trusted that is found
  ///     from now on.
  mutating func contains(_ pages: Range<Int>, of block: RAMBlock, stands: Bool) -> Bool {
    if stands, trusted.count != 0 || self.block !== block {
      // Found while it ran: it has written since.
      self.block = block
      (trusted, looked) = (0..<0, 0..<0)
    }
    let limits = stands ? 0..<block.pageCount : trusted
    guard self.block === block, pages.clamped(to: limits) == pages else { return false }
    if pages.clamped(to: looked) != pages {
      guard pages.lowerBound == next else {
        // A guest waits for it, somewhere: its neighbours are not worth the time.
        next = pages.upperBound
        return Self.look(pages, of: block) == [pages]
      }
      looked = (pages.lowerBound..<pages.lowerBound + max(Self.pagesPerLook, pages.count))
        .clamped(to: limits)
      untouched = Self.look(looked, of: block)
    }
    next = pages.upperBound
    return untouched.contains { $0.contains(pages.lowerBound) && pages.upperBound <= $0.upperBound }
  }

  private static func look(_ pages: Range<Int>, of block: RAMBlock) -> [Range<Int>] {
    block.untouchedRuns(
      offset: pages.lowerBound * RAMRange.pageSize, byteCount: pages.count * RAMRange.pageSize)
  }
}
