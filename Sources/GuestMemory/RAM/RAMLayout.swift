// Where each block lies in the RAM list's address space.

internal import Synchronization

/// The places of RAM blocks: given out at creation, free again when a block's last user is gone.
final class RAMLayout: Sendable {
  /// How far the RAM list's address space can reach, in bytes.
  static let byteLimit = 64 << 40
  /// Places begin at multiples of this: no word of a dirty bitmap is shared by two blocks.
  static let alignment = 64 * RAMRange.pageSize

  private let taken = Mutex<[Range<Int>]>([])

  /// Takes the smallest gap that is large enough, which keeps the bitmaps short.
  func take(byteCount: Int) -> RAMPlace? {
    let size = (byteCount + Self.alignment - 1) / Self.alignment * Self.alignment
    let range = taken.withLock { taken -> Range<Int>? in
      var best: (index: Int, start: Int, gap: Int)?
      var start = 0
      for (index, range) in taken.enumerated() {
        let gap = range.lowerBound - start
        if gap >= size, gap < best?.gap ?? .max { best = (index, start, gap) }
        start = range.upperBound
      }
      let (index, place) = best.map { ($0.index, $0.start) } ?? (taken.count, start)
      guard size <= Self.byteLimit, place <= Self.byteLimit - size else { return nil }
      taken.insert(place..<place + size, at: index)
      return place..<place + size
    }
    return range.map { RAMPlace(range: $0, layout: self) }
  }

  fileprivate func giveBack(_ range: Range<Int>) {
    taken.withLock { $0.removeAll { $0 == range } }
  }
}

/// A place in the RAM list's address space that has one owner, and is free again after it.
struct RAMPlace: ~Copyable {
  let range: Range<Int>
  private let layout: RAMLayout

  fileprivate init(range: Range<Int>, layout: RAMLayout) {
    self.range = range
    self.layout = layout
  }

  deinit { layout.giveBack(range) }
}
