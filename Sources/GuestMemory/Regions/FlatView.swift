// What the guest sees, address by address: rendered once, never changed.

/// An immutable picture of an address space.
///
/// Whoever holds it can use it for as long as it likes; the memory behind it stays that long, even
/// if the layout has changed since. Addresses beyond 2^63 have nothing behind them.
public final class FlatView: Sendable {
  /// What there is, in ascending order of addresses, without overlaps; holes are left out.
  public let ranges: [FlatRange]

  /// A view in which there is nothing.
  init() { ranges = [] }

  /// Renders a tree.
  /// - Parameters:
  ///   - root: the region that lies at address 0.
  ///   - logClients: for whom writes to all RAM have to be noticed.
  init(root: MemoryRegion, logClients: DirtyClients) {
    var renderer = FlatViewRenderer(logClients: logClients)
    renderer.render(root)
    ranges = renderer.finish()
  }

  /// What is at an address, if anything is.
  public func range(at address: GuestAddress) -> FlatRange? {
    index(at: address).map { ranges[$0] }
  }

  /// The index of the range that has an address.
  @inline(__always)
  func index(at address: GuestAddress) -> Int? {
    let index = firstIndex(endingAfter: address)
    return index < ranges.count && ranges[index].guest.start <= address ? index : nil
  }

  /// The index of the first range that ends behind an address; `ranges.count` if none does.
  func firstIndex(endingAfter address: GuestAddress) -> Int {
    var low = 0
    var high = ranges.count
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].guest.end > address { high = middle } else { low = middle + 1 }
    }
    return low
  }

  /// Calls `body` for every range that shows a part of a run of RAM pages.
  /// - Parameters:
  ///   - pages: the pages.
  ///   - body: gets the range and which bytes of it, counted from its beginning, show those pages.
  public func forEachRange(
    showing pages: RAMRange, _ body: (FlatRange, Range<UInt64>) throws(GuestMemoryError) -> Void
  ) throws(GuestMemoryError) {
    let wanted = pages.start.rawValue..<pages.start.rawValue + UInt64(pages.byteCount)
    for range in ranges {
      guard let (block, offset) = range.ram else { continue }
      let start = block.ramOffset.rawValue + UInt64(offset)
      let part = wanted.clamped(to: start..<start + range.guest.byteCount)
      if !part.isEmpty { try body(range, part.lowerBound - start..<part.upperBound - start) }
    }
  }
}
