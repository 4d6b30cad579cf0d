// One bit a page, in memory that is taken only where some bits are set and others are not. A
// terabyte of guest has 2^28 pages; setting up its bitmaps must not cost the guest a millisecond
// before it can run.

/// A set of page numbers below a fixed count, empty at first.
public struct PageBitmap: Sendable {
  /// Bits in one chunk; a chunk takes 32 KiB once a bit of it is set, unless all are at once.
  private static let bitsPerChunk = 1 << 18

  /// How many pages there are; members lie in `0..<pageCount`.
  public let pageCount: Int
  /// How many pages are members.
  public private(set) var memberCount = 0

  /// The bits; of a chunk that never had any, or was filled at once, there are none.
  private var chunks: [[UInt64]]
  private var chunkMemberCounts: [Int]

  /// An empty set over `pageCount` pages.
  public init(pageCount: Int) {
    precondition(pageCount >= 0, "a block cannot have fewer than no pages")
    self.pageCount = pageCount
    let chunkCount = (pageCount + Self.bitsPerChunk - 1) / Self.bitsPerChunk
    chunks = Array(repeating: [], count: chunkCount)
    chunkMemberCounts = Array(repeating: 0, count: chunkCount)
  }

  /// The pages that are not members of `other`.
  public init(complementOf other: PageBitmap) {
    self.init(pageCount: other.pageCount)
    for chunk in chunks.indices {
      let bits = min(Self.bitsPerChunk, pageCount - chunk * Self.bitsPerChunk)
      guard other.chunkMemberCounts[chunk] < bits else { continue }
      var words =
        other.chunks[chunk].isEmpty
        ? Array(repeating: UInt64.max, count: (bits + 63) / 64) : other.chunks[chunk].map { ~$0 }
      if bits % 64 != 0 { words[words.count - 1] &= (1 << UInt64(bits % 64)) - 1 }
      chunks[chunk] = words
      chunkMemberCounts[chunk] = bits - other.chunkMemberCounts[chunk]
      memberCount += chunkMemberCounts[chunk]
    }
  }

  /// Whether `page` is a member.
  public func contains(_ page: Int) -> Bool {
    precondition(page >= 0 && page < pageCount, "page outside its block")
    let chunk = page / Self.bitsPerChunk
    guard chunkMemberCounts[chunk] > 0 else { return false }
    if chunkMemberCounts[chunk] == bitCount(chunk) { return true }
    let bit = page % Self.bitsPerChunk
    return chunks[chunk][bit / 64] & (1 << UInt64(bit % 64)) != 0
  }

  /// Adds `page`, and says whether it was not there before.
  @discardableResult
  public mutating func insert(_ page: Int) -> Bool {
    precondition(page >= 0 && page < pageCount, "page outside its block")
    let chunk = page / Self.bitsPerChunk
    let bit = page % Self.bitsPerChunk
    guard chunkMemberCounts[chunk] < bitCount(chunk) else { return false }
    makeWords(chunk)
    let mask: UInt64 = 1 << UInt64(bit % 64)
    guard chunks[chunk][bit / 64] & mask == 0 else { return false }
    chunks[chunk][bit / 64] |= mask
    chunkMemberCounts[chunk] += 1
    memberCount += 1
    return true
  }

  /// Removes `page`, and says whether it was there.
  @discardableResult
  public mutating func remove(_ page: Int) -> Bool {
    guard contains(page) else { return false }
    let chunk = page / Self.bitsPerChunk
    let bit = page % Self.bitsPerChunk
    makeWords(chunk)
    chunks[chunk][bit / 64] &= ~(1 << UInt64(bit % 64))
    chunkMemberCounts[chunk] -= 1
    memberCount -= 1
    return true
  }

  /// Adds all pages of a range; whole words and whole chunks at once.
  public mutating func insert(_ range: Range<Int>) {
    precondition(range.lowerBound >= 0 && range.upperBound <= pageCount, "pages outside a block")
    var page = range.lowerBound
    while page < range.upperBound {
      let chunk = page / Self.bitsPerChunk
      let chunkStart = chunk * Self.bitsPerChunk
      let end = min(range.upperBound, chunkStart + bitCount(chunk))
      let before = chunkMemberCounts[chunk]
      if end - page == bitCount(chunk) {
        chunks[chunk] = []
        chunkMemberCounts[chunk] = bitCount(chunk)
      } else if before < bitCount(chunk) {
        makeWords(chunk)
        chunkMemberCounts[chunk] += Self.fill(
          &chunks[chunk], bits: page - chunkStart..<end - chunkStart)
      }
      memberCount += chunkMemberCounts[chunk] - before
      page = end
    }
  }

  /// Sets bits, and says how many were not.
  private static func fill(_ words: inout [UInt64], bits: Range<Int>) -> Int {
    var count = 0
    var bit = bits.lowerBound
    while bit < bits.upperBound {
      let end = min(bits.upperBound, (bit / 64 + 1) * 64)
      let mask = (~UInt64(0) >> UInt64(64 - (end - bit))) << UInt64(bit % 64)
      count += (mask & ~words[bit / 64]).nonzeroBitCount
      words[bit / 64] |= mask
      bit = end
    }
    return count
  }

  /// The members that are none of `other`, which has as many pages.
  public func subtracting(_ other: PageBitmap) -> PageBitmap {
    precondition(pageCount == other.pageCount, "pages of one block")
    var rest = self
    for run in runs(in: 0..<pageCount) {
      for common in other.runs(in: run) { for page in common { rest.remove(page) } }
    }
    return rest
  }

  /// How many bits a chunk has.
  private func bitCount(_ chunk: Int) -> Int {
    min(Self.bitsPerChunk, pageCount - chunk * Self.bitsPerChunk)
  }

  /// Has a chunk's bits be there, which are all clear or all set where they are not.
  private mutating func makeWords(_ chunk: Int) {
    guard chunks[chunk].isEmpty else { return }
    let bits = bitCount(chunk)
    let isFull = chunkMemberCounts[chunk] == bits
    chunks[chunk] = Array(repeating: isFull ? .max : 0, count: (bits + 63) / 64)
    if isFull, bits % 64 != 0 { chunks[chunk][bits / 64] = (1 << UInt64(bits % 64)) - 1 }
  }

  /// The runs of pages inside a range that are members, or that are none.
  public func runs(in range: Range<Int>, ofMembers areMembers: Bool = true) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    var next = range.lowerBound
    while let start = first(in: next..<range.upperBound, wanted: areMembers) {
      next = first(in: start..<range.upperBound, wanted: !areMembers) ?? range.upperBound
      runs.append(start..<next)
    }
    return runs
  }

  /// The first page in `range` that is no member; whole words and whole chunks are skipped at once.
  public func firstNonMember(in range: Range<Int>) -> Int? {
    first(in: range, wanted: false)
  }

  /// The first page in `range` that is a member.
  public func firstMember(in range: Range<Int>) -> Int? {
    first(in: range, wanted: true)
  }

  private func first(in range: Range<Int>, wanted: Bool) -> Int? {
    precondition(range.lowerBound >= 0 && range.upperBound <= pageCount, "pages outside a block")
    var page = range.lowerBound
    while page < range.upperBound {
      let chunk = page / Self.bitsPerChunk
      let chunkStart = chunk * Self.bitsPerChunk
      let chunkEnd = min(chunkStart + Self.bitsPerChunk, pageCount)
      let members = chunkMemberCounts[chunk]
      if members == (wanted ? 0 : chunkEnd - chunkStart) {
        page = chunkEnd
        continue
      }
      if members == (wanted ? chunkEnd - chunkStart : 0) { return page }
      let found = Self.first(
        in: chunks[chunk],
        bits: (page - chunkStart)..<(min(range.upperBound, chunkEnd) - chunkStart), wanted: wanted)
      if let found { return chunkStart + found }
      page = chunkEnd
    }
    return nil
  }

  private static func first(in words: [UInt64], bits: Range<Int>, wanted: Bool) -> Int? {
    var bit = bits.lowerBound
    while bit < bits.upperBound {
      let word = wanted ? words[bit / 64] : ~words[bit / 64]
      let rest = word & (~0 << UInt64(bit % 64))
      if rest != 0 {
        let found = bit / 64 * 64 + rest.trailingZeroBitCount
        return found < bits.upperBound ? found : nil
      }
      bit = (bit / 64 + 1) * 64
    }
    return nil
  }
}

extension PageBitmap: Equatable {
  /// Whether both have the same pages, and the same members.
  public static func == (one: PageBitmap, other: PageBitmap) -> Bool {
    guard one.pageCount == other.pageCount, one.chunkMemberCounts == other.chunkMemberCounts else {
      return false
    }
    return one.chunks.indices.allSatisfy { chunk in
      // Where all are members or none is, their words may be missing on either side.
      let count = one.chunkMemberCounts[chunk]
      return count == 0 || count == one.bitCount(chunk) || one.chunks[chunk] == other.chunks[chunk]
    }
  }
}
