// Bringing in what a memory slot's bitmap says.

extension DirtyMemory {
  /// Adds the pages that a slot's bitmap says were written.
  ///
  /// Whole words at a time, shifted where the slot does not begin at a multiple of 64 pages; words
  /// in which nothing is set cost their reading and no more. Bits beyond `pageCount` are ignored.
  ///
  /// - Parameters:
  ///   - bitmap: bit i stands for page i of the slot, the lowest bit of the first word for page 0.
  ///   - start: where the slot's first page lies.
  ///   - pageCount: pages of the slot; `bitmap` has at least that many bits.
  ///   - client: whom the pages are dirty for.
  /// - Returns: how many pages were clean before.
  @discardableResult
  public func merge(
    _ bitmap: Span<UInt64>, at start: RAMAddress, pageCount: Int, for client: DirtyClient
  ) -> Int {
    precondition(pageCount >= 0 && pageCount <= bitmap.count * 64, "a bitmap for every page")
    let base = start.pageIndex
    var added = 0
    var done = 0
    forEachPiece(of: base..<base + pageCount) { piece, pages in
      let parts = PageWords(pages)
      // Where the piece's page 0 would be in the slot; negative where the slot begins inside it.
      let origin = done - pages.lowerBound
      withLock(client) {
        parts.forEachEdge { word, mask in
          let bits = Self.bits(of: bitmap, from: origin + word * 64)
          added += piece.merge(word: word, mask: bits & mask, client)
        }
        if !parts.whole.isEmpty {
          let bit = origin + parts.whole.lowerBound * 64
          added += piece.merge(parts.whole, from: bitmap, bit: bit, client)
        }
      }
      done += pages.count
    }
    return added
  }

  /// The 64 bits of a bitmap from any place on; those outside the bitmap are clear.
  private static func bits(of bitmap: Span<UInt64>, from bit: Int) -> UInt64 {
    // Floor division: the place may lie before the bitmap's beginning.
    let word = bit >> 6
    let shift = UInt64(bit & 63)
    let low = bitmap.indices.contains(word) ? bitmap[word] >> shift : 0
    guard shift > 0, bitmap.indices.contains(word + 1) else { return low }
    return low | bitmap[word + 1] << (64 - shift)
  }

  /// Adds the pages that a bitmap with one bit for several pages says were written.
  ///
  /// - Parameters:
  ///   - bitmap: bit i stands for the `pagesPerBit` pages from page i x `pagesPerBit` on.
  ///   - start: where the slot's first page lies.
  ///   - pageCount: pages of the slot, in units of 4096 bytes; the last bit may reach beyond.
  ///   - pagesPerBit: the host's page size in units of 4096 bytes, a power of two.
  ///   - client: whom the pages are dirty for.
  /// - Returns: how many pages were clean before.
  @discardableResult
  public func merge(
    _ bitmap: Span<UInt64>, at start: RAMAddress, pageCount: Int, pagesPerBit: Int,
    for client: DirtyClient
  ) -> Int {
    precondition(
      pagesPerBit > 0 && pagesPerBit & (pagesPerBit - 1) == 0,
      "a host page is a power of two of pages")
    if pagesPerBit == 1 {
      return merge(bitmap, at: start, pageCount: pageCount, for: client)
    }
    let bitCount = (pageCount + pagesPerBit - 1) / pagesPerBit
    precondition(pageCount >= 0 && bitCount <= bitmap.count * 64, "a bitmap for every page")
    let base = start.pageIndex
    var added = 0
    Self.forEachRun(of: bitmap, bitCount: bitCount) { run in
      let end = min(run.upperBound * pagesPerBit, pageCount)
      let pages = base + run.lowerBound * pagesPerBit..<base + end
      added += setAll(RAMRange(pages: pages), for: client)
    }
    return added
  }

  /// Calls `body` for every run of set bits among the first `bitCount`.
  private static func forEachRun(
    of bitmap: Span<UInt64>, bitCount: Int, _ body: (Range<Int>) -> Void
  ) {
    var runStart: Int?
    for word in 0..<(bitCount + 63) / 64 {
      let limit = bitCount - word * 64
      var rest = bitmap[word]
      if limit < 64 { rest &= ~PageWords.mask(from: limit) }
      var bit = 0
      while bit < 64 {
        if runStart != nil {
          let length = (~rest & PageWords.mask(from: bit)).trailingZeroBitCount
          bit = length
          if length < 64, let start = runStart {
            body(start..<word * 64 + length)
            runStart = nil
          }
        } else {
          bit = (rest & PageWords.mask(from: bit)).trailingZeroBitCount
          if bit < 64 { runStart = word * 64 + bit }
        }
      }
    }
    if let start = runStart { body(start..<bitCount) }
  }

  /// Takes the dirty pages of a range and cleans them.
  ///
  /// A mark that is set meanwhile is either taken or stays; none is lost. Marks are taken by an
  /// atomic exchange a word, where there are any.
  ///
  /// - Parameters:
  ///   - range: the pages.
  ///   - client: whose bitmap.
  ///   - output: what was dirty is added here; bit i is page i of the range, so it has at least
  ///     `range.pageCount` bits.
  /// - Returns: how many pages were dirty, and how many of them `output` did not have; both exact.
  @discardableResult
  public func harvestAndClear(
    _ range: RAMRange, for client: DirtyClient, into output: inout MutableSpan<UInt64>
  ) -> Harvest {
    precondition(range.pageCount <= output.count * 64, "room for every page of the range")
    var total = Harvest()
    var page = range.pages.lowerBound
    let base = page
    while page < range.pages.upperBound {
      let index = page / DirtyPiece.pageCount
      let start = index * DirtyPiece.pageCount
      let end = min(range.pages.upperBound, start + DirtyPiece.pageCount)
      guard let piece = piece(index) else { break }
      total += harvest(
        piece, page - start..<end - start, base: base - start, client, into: &output)
      page = end
    }
    return total
  }

  /// Takes the dirty pages of a part of one piece.
  /// - Parameter base: the page of the piece that bit 0 of the output stands for; may be negative.
  private func harvest(
    _ piece: DirtyPiece, _ pages: Range<Int>, base: Int, _ client: DirtyClient,
    into output: inout MutableSpan<UInt64>
  ) -> Harvest {
    withLock(client) {
      var total = Harvest()
      let parts = PageWords(pages)
      if base % 64 == 0, !parts.whole.isEmpty {
        let first = (parts.whole.lowerBound * 64 - base) / 64
        total += piece.harvest(parts.whole, into: &output, first: first, client)
        parts.forEachEdge { word, mask in
          let taken = piece.take(word: word, mask: mask, client)
          total += Self.add(taken, at: word * 64 - base, to: &output)
        }
      } else {
        PageWords.forEach(of: pages) { word, mask in
          let taken = piece.take(word: word, mask: mask, client)
          total += Self.add(taken, at: word * 64 - base, to: &output)
        }
      }
      return total
    }
  }

  /// Adds 64 bits to a bitmap at any place; those that are set lie inside it.
  private static func add(
    _ bits: UInt64, at bit: Int, to output: inout MutableSpan<UInt64>
  ) -> Harvest {
    guard bits != 0 else { return Harvest() }
    var added = 0
    // Floor division: the word's own beginning may lie before the output's.
    let word = bit >> 6
    let shift = UInt64(bit & 63)
    let low = bits << shift
    if low != 0 {
      added += (low & ~output[word]).nonzeroBitCount
      output[word] |= low
    }
    let high = shift == 0 ? 0 : bits >> (64 - shift)
    if high != 0 {
      added += (high & ~output[word + 1]).nonzeroBitCount
      output[word + 1] |= high
    }
    return Harvest(pageCount: bits.nonzeroBitCount, addedCount: added)
  }
}
