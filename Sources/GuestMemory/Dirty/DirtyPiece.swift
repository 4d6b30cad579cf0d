// A fixed-size piece of the dirty bitmaps: 2 Mi pages (8 GiB of RAM), for all three clients.
//
// Each client has two layers. *Marks* are set by whoever writes to guest memory (devices, vCPU
// threads of the synthetic machine), any number of threads at once, one atomic operation a word.
// *Merged* holds what slot bitmaps brought; only the holder of the client's lock touches it, so
// that merging and harvesting run at the speed of plain memory instead of one locked operation a
// word, which would be twenty times slower. Whatever needs to know all that is dirty folds the
// marks of its words into the merged layer first; a summary says where there are any. Which chunks
// of the merged layer hold anything is noted beside it: where none did, merging writes without
// reading, and harvesting cleans by a note.

internal import CDirtyBitmap
internal import Glibc

/// The memory of one piece; never moved and never freed while its `DirtyMemory` lives.
///
/// It is a pointer: copies stand for the same piece. Word and page numbers count from the piece's
/// beginning and are checked.
@safe
struct DirtyPiece: @unchecked Sendable {
  static let pageCount = 2 << 20
  static let wordCount = pageCount / 64
  /// Words for which one word of the summary stands.
  private static let wordsPerSummary = Int(GODWIT_CHUNK_WORDS) * 64
  private static let summaryCount = wordCount / wordsPerSummary
  /// Marks, merged, summary, which chunks of merged are held, and a cache line with how many bits
  /// are set in it, one after the other.
  private static let wordsPerClient = 2 * wordCount + 2 * summaryCount + 8
  private static let byteCount = DirtyClient.allCases.count * wordsPerClient * 8

  private let words: UnsafeMutablePointer<UInt64>

  /// A piece in which nothing is dirty; memory is taken only where bits are set.
  init() throws(GuestMemoryError) {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    // SAFETY: a new mapping at an address of the kernel's choice; the result is checked.
    let address = unsafe mmap(nil, Self.byteCount, PROT_READ | PROT_WRITE, flags, -1, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw .hostRefused(action: "Making room for dirty bitmaps", code: errno)
    }
    // SAFETY: the mapping is page-aligned and that long; any bits are a valid UInt64.
    unsafe words = address.bindMemory(
      to: UInt64.self, capacity: Self.byteCount / 8)
  }

  /// The piece that `bits` stands for.
  init?(bits: UInt64) {
    // SAFETY: only `bits` of a living piece are ever stored where this is called with them.
    guard let words = unsafe UnsafeMutablePointer<UInt64>(bitPattern: UInt(bits)) else {
      return nil
    }
    unsafe self.words = words
  }

  /// The piece as a word to be published.
  var bits: UInt64 { unsafe UInt64(UInt(bitPattern: words)) }

  /// Gives the memory back; no copy of this value may be used again.
  func free() { unsafe _ = munmap(words, Self.byteCount) }

  @inline(__always)
  private func marks(_ client: DirtyClient) -> UnsafeMutablePointer<UInt64> {
    unsafe words + client.rawValue * Self.wordsPerClient
  }

  @inline(__always)
  private func summary(_ client: DirtyClient) -> UnsafeMutablePointer<UInt64> {
    unsafe marks(client) + 2 * Self.wordCount
  }

  @inline(__always)
  private func merged(_ client: DirtyClient) -> godwit_layer {
    let held = unsafe summary(client) + Self.summaryCount
    return unsafe godwit_layer(
      words: marks(client) + Self.wordCount, held: held, population: held + Self.summaryCount,
      count: Self.wordCount)
  }

  @inline(__always)
  private static func check(_ words: Range<Int>) {
    precondition(
      words.lowerBound >= 0 && words.upperBound <= wordCount, "words outside a dirty piece")
  }

  // MARK: Marks, without a lock

  /// Marks the pages of `mask` in a word.
  @inline(__always)
  func mark(word: Int, mask: UInt64, _ client: DirtyClient) {
    Self.check(word..<word + 1)
    let chunk: UInt64 = 1 << UInt64(word / Int(GODWIT_CHUNK_WORDS) % 64)
    // SAFETY: the word is inside the layer and its summary inside the summary; other threads use
    // both atomically only.
    unsafe godwit_marks_set(
      marks(client) + word, mask, summary(client) + word / Self.wordsPerSummary, chunk)
  }

  // MARK: Both layers, with the client's lock held

  /// Moves marks into the merged layer: those of some words, and of their neighbours in the chunks.
  @inline(__always)
  func fold(_ words: Range<Int>, _ client: DirtyClient) {
    guard !words.isEmpty else { return }
    Self.check(words)
    let chunkWords = Int(GODWIT_CHUNK_WORDS)
    let chunks = words.lowerBound / chunkWords..<(words.upperBound - 1) / chunkWords + 1
    PageWords.forEach(of: chunks) { index, wanted in
      let first = index * Self.wordsPerSummary
      // SAFETY: `check` keeps the chunks inside both layers; the caller holds the lock.
      unsafe godwit_marks_fold(
        summary(client) + index, wanted, marks(client) + first, merged(client), index * 64)
    }
  }

  /// The dirty pages in a word.
  func dirty(word: Int, _ client: DirtyClient) -> UInt64 {
    fold(word..<word + 1, client)
    // SAFETY: `fold` has checked the word; the caller holds the lock.
    return unsafe godwit_layer_word(merged(client), word)
  }

  /// Cleans the pages of `mask` in a word; those that were dirty.
  func take(word: Int, mask: UInt64, _ client: DirtyClient) -> UInt64 {
    fold(word..<word + 1, client)
    // SAFETY: `fold` has checked the word; the caller holds the lock.
    return unsafe godwit_layer_take(merged(client), word, mask)
  }

  /// Makes the pages of `mask` in a word dirty; how many were clean.
  func merge(word: Int, mask: UInt64, _ client: DirtyClient) -> Int {
    fold(word..<word + 1, client)
    // SAFETY: `fold` has checked the word; the caller holds the lock.
    return Int(unsafe godwit_layer_set(merged(client), word, mask))
  }

  /// Makes the pages dirty that whole words of a bitmap name; how many were clean.
  /// - Parameters:
  ///   - source: the bitmap.
  ///   - bit: the bit of `source` that stands for the first page of the first word.
  func merge(
    _ target: Range<Int>, from source: Span<UInt64>, bit: Int, _ client: DirtyClient
  ) -> Int {
    fold(target, client)
    let first = bit / 64
    let shift = bit % 64
    precondition(
      bit >= 0 && first + target.count + (shift > 0 ? 1 : 0) <= source.count,
      "words outside a slot bitmap")
    // SAFETY: the precondition keeps the reading inside `source`, `fold` has checked the
    // writing; the caller holds the lock.
    return unsafe source.withUnsafeBufferPointer { words in
      guard let start = words.baseAddress else { return 0 }
      let layer = unsafe merged(client)
      let added =
        shift == 0
        ? unsafe godwit_layer_merge(layer, target.lowerBound, target.count, start + first)
        : unsafe godwit_layer_merge_shifted(
          layer, target.lowerBound, target.count, start + first, UInt32(shift))
      return Int(added)
    }
  }

  /// Makes all pages of whole words dirty; how many were clean.
  func fill(_ target: Range<Int>, _ client: DirtyClient) -> Int {
    fold(target, client)
    // SAFETY: `fold` has checked the words; the caller holds the lock.
    return Int(unsafe godwit_layer_fill(merged(client), target.lowerBound, target.count))
  }

  /// Cleans whole words and adds what was dirty to `output`, from its word `first` on.
  func harvest(
    _ source: Range<Int>, into output: inout MutableSpan<UInt64>, first: Int,
    _ client: DirtyClient
  ) -> Harvest {
    fold(source, client)
    precondition(first >= 0 && first + source.count <= output.count, "words outside the output")
    var added: UInt64 = 0
    // SAFETY: `fold` and the precondition have checked the words; the caller holds the lock.
    let found = unsafe output.withUnsafeMutableBufferPointer { words -> UInt64 in
      guard let start = words.baseAddress else { return 0 }
      return unsafe godwit_layer_harvest(
        merged(client), source.lowerBound, source.count, start + first, &added)
    }
    return Harvest(pageCount: Int(found), addedCount: Int(added))
  }

  /// Cleans whole words; how many pages were dirty.
  func clear(_ target: Range<Int>, _ client: DirtyClient) -> Int {
    fold(target, client)
    // SAFETY: `fold` has checked the words; the caller holds the lock.
    return Int(unsafe godwit_layer_clear(merged(client), target.lowerBound, target.count))
  }

  /// How many pages of whole words are dirty.
  func count(_ source: Range<Int>, _ client: DirtyClient) -> Int {
    fold(source, client)
    // SAFETY: `fold` has checked the words; the caller holds the lock.
    return Int(unsafe godwit_layer_count(merged(client), source.lowerBound, source.count))
  }
}

/// What a harvest found.
public struct Harvest: Equatable, Sendable {
  /// How many pages were dirty.
  public var pageCount: Int
  /// How many of them the bitmap harvested into did not have already.
  public var addedCount: Int

  /// A harvest that found so much.
  public init(pageCount: Int = 0, addedCount: Int = 0) {
    self.pageCount = pageCount
    self.addedCount = addedCount
  }

  static func += (left: inout Harvest, right: Harvest) {
    left.pageCount += right.pageCount
    left.addedCount += right.addedCount
  }
}
