// A fixed-size piece of the dirty bitmaps: 2 Mi pages (8 GiB of RAM), for all three clients.
//
// Each client has two layers. *Marks* are set by whoever writes to guest memory (devices, vCPU
// threads of the synthetic machine), any number of threads at once, one atomic operation a word.
// *Merged* holds what slot bitmaps brought; only the holder of the client's lock touches it, so that
// merging and harvesting run at the speed of plain memory instead of one locked operation a word
// (about 0.05 x memcpy). A page is dirty if either layer has it.

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
  private static let layerCount = 2 * 3
  private static let byteCount = layerCount * wordCount * 8

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
      to: UInt64.self, capacity: Self.layerCount * Self.wordCount)
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

  private func marks(_ client: DirtyClient) -> UnsafeMutablePointer<UInt64> {
    unsafe words + client.rawValue * 2 * Self.wordCount
  }

  private func merged(_ client: DirtyClient) -> UnsafeMutablePointer<UInt64> {
    unsafe words + (client.rawValue * 2 + 1) * Self.wordCount
  }

  private static func check(_ words: Range<Int>) {
    precondition(
      words.lowerBound >= 0 && words.upperBound <= wordCount, "words outside a dirty piece")
  }

  // MARK: Marks, without a lock

  /// Marks the pages of `mask` in a word; those that had no mark before.
  @inline(__always)
  func mark(word: Int, mask: UInt64, _ client: DirtyClient) -> UInt64 {
    Self.check(word..<word + 1)
    // SAFETY: the word is inside the layer, and other threads use it atomically only.
    return unsafe mask & ~godwit_word_set(marks(client) + word, mask)
  }

  /// The marks in a word.
  func marked(word: Int, _ client: DirtyClient) -> UInt64 {
    Self.check(word..<word + 1)
    // SAFETY: as for `mark`.
    return unsafe godwit_word_peek(marks(client) + word)
  }

  // MARK: Both layers, with the client's lock held

  /// The dirty pages in a word.
  func dirty(word: Int, _ client: DirtyClient) -> UInt64 {
    Self.check(word..<word + 1)
    // SAFETY: the word is inside both layers; the caller holds the lock.
    return unsafe godwit_word_peek(marks(client) + word) | merged(client)[word]
  }

  /// Cleans the pages of `mask` in a word; those that were dirty.
  func take(word: Int, mask: UInt64, _ client: DirtyClient) -> UInt64 {
    Self.check(word..<word + 1)
    // SAFETY: the word is inside both layers; the caller holds the lock.
    let marked = unsafe godwit_word_clear(marks(client) + word, mask)
    let known = unsafe merged(client)[word]
    unsafe merged(client)[word] = known & ~mask
    return (marked | known) & mask
  }

  /// Adds the pages of `mask` to the merged layer of a word; how many that layer did not have.
  func merge(word: Int, mask: UInt64, _ client: DirtyClient) -> Int {
    Self.check(word..<word + 1)
    // SAFETY: the word is inside the layer; the caller holds the lock.
    let known = unsafe merged(client)[word]
    unsafe merged(client)[word] = known | mask
    return (mask & ~known).nonzeroBitCount
  }

  /// Adds whole words of a bitmap to the merged layer; how many pages that layer did not have.
  /// - Parameters:
  ///   - source: the bitmap.
  ///   - bit: the bit of `source` that stands for the first page of the first word.
  func merge(
    _ target: Range<Int>, from source: Span<UInt64>, bit: Int, _ client: DirtyClient
  ) -> Int {
    Self.check(target)
    let first = bit / 64
    let shift = bit % 64
    precondition(
      bit >= 0 && first + target.count + (shift > 0 ? 1 : 0) <= source.count,
      "words outside a slot bitmap")
    // SAFETY: the precondition keeps the reading inside `source`, `check` the writing inside the
    // layer; the caller holds the lock.
    return unsafe source.withUnsafeBufferPointer { words in
      guard let start = words.baseAddress else { return 0 }
      let to = unsafe merged(client) + target.lowerBound
      let added =
        shift == 0
        ? unsafe godwit_bitmap_merge(to, start + first, target.count)
        : unsafe godwit_bitmap_merge_shifted(to, start + first, target.count, UInt32(shift))
      return Int(added)
    }
  }

  /// Adds all pages of whole words to the merged layer; how many that layer did not have.
  func fill(_ target: Range<Int>, _ client: DirtyClient) -> Int {
    Self.check(target)
    // SAFETY: the words are inside the layer; the caller holds the lock.
    return Int(unsafe godwit_bitmap_fill(merged(client) + target.lowerBound, target.count))
  }

  /// Cleans whole words and adds what was dirty to `output`, from its word `first` on.
  func harvest(
    _ source: Range<Int>, into output: inout MutableSpan<UInt64>, first: Int,
    _ client: DirtyClient
  ) -> Harvest {
    Self.check(source)
    precondition(first >= 0 && first + source.count <= output.count, "words outside the output")
    var added: UInt64 = 0
    // SAFETY: the words are inside both layers and the output; the caller holds the lock.
    let found = unsafe output.withUnsafeMutableBufferPointer { words -> UInt64 in
      guard let start = words.baseAddress else { return 0 }
      return unsafe godwit_bitmap_harvest(
        marks(client) + source.lowerBound, merged(client) + source.lowerBound, start + first,
        source.count, &added)
    }
    return Harvest(pageCount: Int(found), addedCount: Int(added))
  }

  /// How many pages of whole words are dirty.
  func count(_ source: Range<Int>, _ client: DirtyClient) -> Int {
    Self.check(source)
    // SAFETY: the words are inside both layers; the caller holds the lock.
    return Int(
      unsafe godwit_bitmap_count(
        marks(client) + source.lowerBound, merged(client) + source.lowerBound, source.count))
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
