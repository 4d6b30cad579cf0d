// Where each block lies in the RAM list's address space.

internal import Synchronization

/// The places of RAM blocks: given out at creation, free again when a block's last user is gone.
final class RAMLayout: Sendable {
  /// How far the RAM list's address space can reach, in bytes.
  static let byteLimit = 64 << 40
  /// Places begin at multiples of this: no word of a dirty bitmap is shared by two blocks.
  static let alignment = 64 * RAMRange.pageSize

  private struct Places: Sendable {
    var taken: [Range<Int>] = []
    /// The end of the highest place that was ever given out.
    var highest = 0
  }

  private let places = Mutex(Places())

  /// Takes the smallest gap that is large enough, which keeps the bitmaps short.
  func take(byteCount: Int) -> RAMPlace? {
    let size = (byteCount + Self.alignment - 1) / Self.alignment * Self.alignment
    let place = places.withLock { places -> (range: Range<Int>, wasUsed: Bool)? in
      var best: (index: Int, start: Int, gap: Int)?
      var start = 0
      for (index, range) in places.taken.enumerated() {
        let gap = range.lowerBound - start
        if gap >= size, gap < best?.gap ?? .max { best = (index, start, gap) }
        start = range.upperBound
      }
      let (index, place) = best.map { ($0.index, $0.start) } ?? (places.taken.count, start)
      guard size <= Self.byteLimit, place <= Self.byteLimit - size else { return nil }
      places.taken.insert(place..<place + size, at: index)
      let wasUsed = place < places.highest
      places.highest = max(places.highest, place + size)
      return (place..<place + size, wasUsed)
    }
    return place.map { RAMPlace(range: $0.range, wasUsed: $0.wasUsed, layout: self) }
  }

  fileprivate func giveBack(_ range: Range<Int>) {
    places.withLock { $0.taken.removeAll { $0 == range } }
  }
}

/// A place in the RAM list's address space that has one owner, and is free again after it.
struct RAMPlace: ~Copyable {
  let range: Range<Int>
  /// Whether another block may have had it, and left marks there.
  let wasUsed: Bool
  private let layout: RAMLayout

  fileprivate init(range: Range<Int>, wasUsed: Bool, layout: RAMLayout) {
    self.range = range
    self.wasUsed = wasUsed
    self.layout = layout
  }

  deinit { layout.giveBack(range) }
}
