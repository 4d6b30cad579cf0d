// What has arrived of a machine's memory, kept where it outlives the pager that noted it: in memory
// that the machine owns and both have mapped.
//
//   bytes          what
//   0…7            the magic number "GWPAGER1"
//   8…15           who has decided on the machine: 0 nobody, 1 it runs here, 2 it never will
//   64…            the account of who waited: FaultAccount
//   4096…8191      how many waits were how long, a word a bucket
//   8192…          for each block: a bit a page that arrived, then a bit a page that is owed
//
// Words are in the host's byte order, since both sides are on one host. A page's bit is set after
// its content is complete and before anybody is let in, so that a pager which dies between any two
// instructions leaves no page behind that is half there and counts as arrived.

internal import MigrationCore
internal import Transport

/// The pages of a machine that have arrived, shared by the machine and its pager.
///
/// One thread changes it at a time; any may read it.
final class ArrivalRecord: Sendable {
  /// The unit of the record, in bytes: that of the stream's pages.
  static let pageByteCount = 4096

  /// Whether the machine runs here.
  enum Decision: UInt64, Sendable {
    /// Nobody was told anything.
    case open = 0
    /// The source was told, or is about to be told, that it runs here.
    case runs = 1
    /// The source was told, or is about to be told, that it does not.
    case neverRuns = 2
  }

  private static let magic: UInt64 = 0x3152_4547_4150_5747
  private static let headerByteCount = 8192
  /// The word with which the counts of waits begin.
  static let histogramWord = 4096 / 8
  private static let decisionWord = 1

  private let mapping: SharedMapping
  private let pageCounts: [Int]
  /// The word with which each block's bits begin.
  private let firstWords: [Int]

  /// A record in which nothing has arrived.
  ///
  /// - Parameter blockByteCounts: the size of each block of the machine, in its own order.
  convenience init(blockByteCounts: [Int]) throws(PagerError) {
    let byteCount = Self.layout(blockByteCounts).byteCount
    try self.init(
      SharedMapping(newFile: byteCount, what: "the record of arrived pages"), blockByteCounts)
    mapping.storeWord(at: 0, Self.magic)
  }

  /// The record that a machine hands over.
  convenience init(
    _ descriptor: consuming OwnedDescriptor, blockByteCounts: [Int]
  ) throws(PagerError) {
    let byteCount = Self.layout(blockByteCounts).byteCount
    try self.init(
      SharedMapping(descriptor, byteCount: byteCount, what: "the record of arrived pages"),
      blockByteCounts)
    guard mapping.loadWord(at: 0) == Self.magic else {
      throw .protocolViolation("the record of arrived pages is none")
    }
  }

  private init(_ mapping: SharedMapping, _ blockByteCounts: [Int]) {
    self.mapping = mapping
    pageCounts = blockByteCounts.map { $0 / Self.pageByteCount }
    firstWords = Self.layout(blockByteCounts).firstWords
  }

  private static func layout(_ blockByteCounts: [Int]) -> (firstWords: [Int], byteCount: Int) {
    var word = headerByteCount / 8
    var firstWords: [Int] = []
    for count in blockByteCounts {
      firstWords.append(word)
      word += 2 * ((count / pageByteCount + 63) / 64)
    }
    return (firstWords, word * 8)
  }

  /// The descriptor's number, for handing it over.
  var rawDescriptor: Int32 { mapping.rawDescriptor }

  /// What was decided; a pager that is gone decides no more.
  var decision: Decision {
    get { Decision(rawValue: mapping.loadWord(at: Self.decisionWord)) ?? .open }
    set { mapping.storeWord(at: Self.decisionWord, newValue.rawValue) }
  }

  /// A word of the account.
  func word(at index: Int) -> UInt64 { mapping.loadWord(at: index) }

  /// Changes a word of the account.
  func setWord(at index: Int, _ value: UInt64) { mapping.storeWord(at: index, value) }

  /// Whether a page has arrived.
  func has(_ page: Int, ofBlock index: Int) -> Bool {
    precondition(page >= 0 && page < pageCounts[index], "a page of its block")
    return mapping.loadWord(at: firstWords[index] + page / 64) >> UInt64(page % 64) & 1 != 0
  }

  /// Pages have arrived: their content is complete.
  func insert(_ pages: Range<Int>, ofBlock index: Int) {
    change(pages, from: firstWords[index], isSet: true, ofBlock: index)
  }

  /// The source takes pages back, and owes them from now on.
  func discard(_ pages: Range<Int>, ofBlock index: Int) {
    change(pages, from: firstWords[index], isSet: false, ofBlock: index)
    change(
      pages, from: firstWords[index] + wordCount(index), isSet: true, ofBlock: index)
  }

  /// All that is known of a block, for an engine that carries on.
  func pages(ofBlock index: Int) -> PageArrivals.KeptPages {
    PageArrivals.KeptPages(
      arrived: bitmap(from: firstWords[index], ofBlock: index),
      owed: bitmap(from: firstWords[index] + wordCount(index), ofBlock: index))
  }

  private func wordCount(_ index: Int) -> Int { (pageCounts[index] + 63) / 64 }

  private func change(_ pages: Range<Int>, from first: Int, isSet: Bool, ofBlock index: Int) {
    precondition(
      pages.lowerBound >= 0 && pages.upperBound <= pageCounts[index], "pages of their block")
    var page = pages.lowerBound
    while page < pages.upperBound {
      let end = min(pages.upperBound, (page / 64 + 1) * 64)
      let bits = (~UInt64(0) >> UInt64(64 - (end - page))) << UInt64(page % 64)
      let place = first + page / 64
      let word = mapping.loadWord(at: place)
      let changed = isSet ? word | bits : word & ~bits
      if changed != word { mapping.storeWord(at: place, changed) }
      page = end
    }
  }

  /// The pages whose bits are set.
  private func bitmap(from first: Int, ofBlock index: Int) -> PageBitmap {
    var bitmap = PageBitmap(pageCount: pageCounts[index])
    for place in 0..<wordCount(index) {
      let pages = place * 64..<min((place + 1) * 64, pageCounts[index])
      let word = mapping.loadWord(at: first + place)
      if word == ~0 {
        bitmap.insert(pages)
      } else if word != 0 {
        for page in pages where word >> UInt64(page % 64) & 1 != 0 { bitmap.insert(page) }
      }
    }
    return bitmap
  }
}
