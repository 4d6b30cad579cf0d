// Pages with numbers, as those of a file, found by their hashes, which all processors make, ahead
// of time or when they are asked for. They take 20 bytes a page: what is announced, and the way
// from a hash to the page.

internal import Glibc
public import PageHash
internal import Synchronization
public import Transport

/// Pages with numbers, those of a file or a machine's own, found by their hashes.
///
/// A page is found once it was hashed, which ``prepare()`` begins, or else ``announce(_:)``.
public final class HashedPages: KnownContent {
  private struct Work {
    /// The prefixes of the pages that were hashed, in the order in which they were.
    var prefixes: [UInt64] = []
    /// Threads that hash; nil before the first one.
    var threadCount: Int?
    var failure: (any Error)?
  }

  private let file: any NumberedPages
  private let places: Mutex<PagePlaces>
  private let work = Mutex(Work())
  /// Where the next part begins that nobody has begun.
  private let nextPage = Atomic<Int>(0)
  private let signal = Signal()

  /// Pages in one part of the work: 1 MiB of memory for each processor.
  private static let partPageCount = 256
  /// Prefixes that are given at a time.
  private static let announcedCount = 1 << 14

  /// Pages that nobody has hashed yet.
  public init(_ pages: any NumberedPages) {
    file = pages
    places = Mutex(PagePlaces())
  }

  /// The pages of memory that other processes may have mapped, read without making any that are not
  /// there.
  ///
  /// - Parameters:
  ///   - memory: a descriptor of it; it begins at offset 0.
  ///   - name: what messages call it.
  public convenience init(
    memory: consuming OwnedDescriptor, name: String
  ) throws(KnownContentError) {
    self.init(try PageFile(memory: memory, name: name))
  }

  /// How many pages there are, zero pages and repetitions included.
  public var pageCount: Int { file.pageCount }

  /// Begins to hash them, by all processors.
  public func prepare() {
    let parts = (file.pageCount + Self.partPageCount - 1) / Self.partPageCount
    let count = min(parts, Self.processorCount)
    let isFirst = work.withLock { work in
      guard work.threadCount == nil else { return false }
      work.threadCount = count
      return true
    }
    guard isFirst else { return }
    places.withLock { $0.reserve(file.pageCount) }
    for _ in 0..<count {
      do {
        // The threads keep this object, and end when all is hashed.
        _ = try NamedThread(name: "godwit-known") { [self] in
          hash()
          endThread(nil)
        }
      } catch {
        endThread(error)
      }
    }
  }

  private func endThread(_ error: (any Error)?) {
    work.withLock { work in
      work.threadCount = work.threadCount.map { $0 - 1 }
      work.failure = work.failure ?? error
    }
    signal.announce()
  }

  /// Gives what the file holds, as far as it was hashed, and the rest as it is.
  public func announce(_ take: ([UInt64]) throws -> Bool) throws {
    prepare()
    var given = 0
    while true {
      let seen = signal.changeCount
      let (part, isOver, failure) = work.withLock { work in
        let part = Array(work.prefixes[given...].prefix(Self.announcedCount))
        return (part, work.threadCount == 0, work.failure)
      }
      given += part.count
      if !part.isEmpty {
        guard try take(part) else { return }
      } else if isOver {
        if let failure, nextPage.load(ordering: .relaxed) < file.pageCount { throw failure }
        return
      } else {
        signal.wait(after: seen, timeout: .seconds(1))
      }
    }
  }

  /// Hashes parts until there are none left.
  private func hash() {
    guard let digester = try? Digester() else { return }
    var buffer = PageRoom(pageCount: Self.partPageCount)
    while true {
      let first = nextPage.add(Self.partPageCount, ordering: .relaxed).oldValue
      guard first < file.pageCount else { return }
      let count = buffer.withMutableBytes { room in file.read(from: first, into: &room) }
      let hashes = buffer.withBytes { bytes in
        digester.hashPages(bytes.extracting(first: count * knownPageByteCount))
      }
      let prefixes = places.withLock { places in
        hashes.indices.compactMap { index in
          buffer.isZero(index) || !places.insert(hashes[index], page: first + index)
            ? nil : hashes[index].prefix
        }
      }
      work.withLock { $0.prefixes += prefixes }
      signal.announce()
    }
  }

  /// Reads the pages with some hashes; what lies together in the file, in one go.
  public func read(_ hashes: [ContentHash], into pages: inout MutableRawSpan) -> [Bool] {
    let numbers = places.withLock { places in hashes.map { places.find($0) } }
    var isRead = [Bool](repeating: false, count: hashes.count)
    var start = 0
    while start < hashes.count {
      guard let first = numbers[start] else {
        start += 1
        continue
      }
      var end = start + 1
      while end < hashes.count, numbers[end] == first + end - start { end += 1 }
      var part = pages._mutatingExtracting(start * knownPageByteCount..<end * knownPageByteCount)
      let count = file.read(from: first, into: &part)
      for index in start..<start + count { isRead[index] = true }
      start = end
    }
    return isRead
  }

  /// How many processors may be used.
  private static let processorCount = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
}

/// The way from a hash to a page's number: open addressing, 32 bits of each and no more.
struct PagePlaces: Sendable {
  /// The page's number plus one in the upper half, 32 bits of its hash in the lower; 0 is empty.
  private var slots: [UInt64] = []
  private var count = 0

  /// Makes room for so many pages, before the first one.
  mutating func reserve(_ pageCount: Int) {
    guard slots.isEmpty else { return }
    slots = [UInt64](repeating: 0, count: pageCount + pageCount / 2 + 16)
  }

  private func home(_ hash: ContentHash) -> Int {
    Int(hash.word0.multipliedFullWidth(by: UInt64(slots.count)).high)
  }

  private static func tag(_ hash: ContentHash) -> UInt64 { hash.word1 & 0xFFFF_FFFF }

  /// Adds a page; whether there was none with that hash.
  mutating func insert(_ hash: ContentHash, page: Int) -> Bool {
    guard count < slots.count - 1 else { return false }
    var slot = home(hash)
    while slots[slot] != 0 {
      if slots[slot] & 0xFFFF_FFFF == Self.tag(hash) { return false }
      slot += 1
      if slot == slots.count { slot = 0 }
    }
    slots[slot] = UInt64(page + 1) << 32 | Self.tag(hash)
    count += 1
    return true
  }

  /// The number of the page that has a hash, to be compared with it.
  func find(_ hash: ContentHash) -> Int? {
    guard !slots.isEmpty else { return nil }
    var slot = home(hash)
    while slots[slot] != 0 {
      if slots[slot] & 0xFFFF_FFFF == Self.tag(hash) { return Int(slots[slot] >> 32) - 1 }
      slot += 1
      if slot == slots.count { slot = 0 }
    }
    return nil
  }
}
