// One bit a page, in memory that is taken only where a bit was set. A terabyte of guest has 2^28
// pages; setting up its bitmaps must not cost the guest a millisecond before it can run.

/// A set of page numbers below a fixed count, empty at first.
public struct PageBitmap: Sendable, Equatable {
  /// Bits in one chunk; a chunk takes 32 KiB once a bit of it is set.
  private static let bitsPerChunk = 1 << 18

  /// How many pages there are; members lie in `0..<pageCount`.
  public let pageCount: Int
  /// How many pages are members.
  public private(set) var memberCount = 0

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
    let bit = page % Self.bitsPerChunk
    return chunks[chunk][bit / 64] & (1 << UInt64(bit % 64)) != 0
  }

  /// Adds `page`, and says whether it was not there before.
  @discardableResult
  public mutating func insert(_ page: Int) -> Bool {
    precondition(page >= 0 && page < pageCount, "page outside its block")
    let chunk = page / Self.bitsPerChunk
    let bit = page % Self.bitsPerChunk
    if chunks[chunk].isEmpty {
      let bits = min(Self.bitsPerChunk, pageCount - chunk * Self.bitsPerChunk)
      chunks[chunk] = Array(repeating: 0, count: (bits + 63) / 64)
    }
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
    chunks[chunk][bit / 64] &= ~(1 << UInt64(bit % 64))
    chunkMemberCounts[chunk] -= 1
    memberCount -= 1
    return true
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
