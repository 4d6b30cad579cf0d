// From the tree of regions to the flat view.

/// Lays regions over each other: what is rendered first is seen, the rest fills the holes.
struct FlatViewRenderer {
  /// Trees deeper than this hold themselves: an alias of a region that it lies in.
  static let depthLimit = 64
  /// Where addresses end.
  static let addressLimit: Int128 = 1 << 63

  let logClients: DirtyClients
  private var ranges: [FlatRange] = []

  init(logClients: DirtyClients) {
    self.logClients = logClients
  }

  /// Renders a tree whose root lies at address 0.
  mutating func render(_ root: MemoryRegion) {
    render(root, at: 0, inside: 0..<Self.addressLimit, isReadOnly: false, depth: 0)
  }

  /// Renders a region and what it holds.
  ///
  /// Addresses are 128 bits wide here: an alias's target can begin before address 0, and sums of
  /// offsets and sizes cannot overflow.
  ///
  /// - Parameters:
  ///   - region: the region.
  ///   - base: where its first byte would be.
  ///   - clip: what of it can be seen.
  ///   - isReadOnly: whether something around it makes it so.
  ///   - depth: how many regions are around it.
  private mutating func render(
    _ region: MemoryRegion, at base: Int128, inside clip: Range<Int128>, isReadOnly: Bool,
    depth: Int
  ) {
    precondition(depth < Self.depthLimit, "the region '\(region.name)' shows itself")
    let state = region.snapshot
    let seen = (base..<base + Int128(region.byteCount)).clamped(to: clip)
    guard state.isEnabled, !seen.isEmpty else { return }
    let isReadOnly = isReadOnly || state.isReadOnly
    if case .alias(let target, let offset) = region.content {
      render(
        target, at: base - Int128(offset), inside: seen, isReadOnly: isReadOnly, depth: depth + 1)
      return
    }
    for subregion in state.subregions {
      render(
        subregion.region, at: base + Int128(subregion.offset), inside: seen,
        isReadOnly: isReadOnly, depth: depth + 1)
    }
    guard case .container = region.content else {
      fillHoles(of: seen, with: region, at: base, isReadOnly: isReadOnly, state.logClients)
      return
    }
  }

  /// Puts a region wherever nothing is yet.
  private mutating func fillHoles(
    of seen: Range<Int128>, with region: MemoryRegion, at base: Int128, isReadOnly: Bool,
    _ ownLogClients: DirtyClients
  ) {
    var logged = ownLogClients.union(logClients)
    if case .mmio = region.content { logged = [] }
    if isReadOnly { logged = [] }
    var start = seen.lowerBound
    var index = ranges.firstIndex { Int128($0.guest.end.rawValue) > start } ?? ranges.count
    while start < seen.upperBound {
      let next = index < ranges.count ? Int128(ranges[index].guest.start.rawValue) : .max
      let end = min(next, seen.upperBound)
      if start < end,
        let guest = GuestRange(
          start: GuestAddress(UInt64(start)), byteCount: UInt64(end - start))
      {
        let range = FlatRange(
          guest: guest, region: region, offsetInRegion: UInt64(start - base),
          isReadOnly: isReadOnly, logClients: logged)
        ranges.insert(range, at: index)
        index += 1
      }
      guard index < ranges.count else { return }
      start = max(start, Int128(ranges[index].guest.end.rawValue))
      index += 1
    }
  }

  /// What was rendered, neighbours that belong together being one.
  consuming func finish() -> [FlatRange] {
    var merged: [FlatRange] = []
    for range in ranges {
      guard let last = merged.last, last.isContinued(by: range),
        let guest = GuestRange(
          start: last.guest.start, byteCount: last.guest.byteCount + range.guest.byteCount)
      else {
        merged.append(range)
        continue
      }
      merged[merged.count - 1] = FlatRange(
        guest: guest, region: last.region, offsetInRegion: last.offsetInRegion,
        isReadOnly: last.isReadOnly, logClients: last.logClients)
    }
    return merged
  }
}
