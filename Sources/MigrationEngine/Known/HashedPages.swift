// The pages of a file by their hashes: the hashes are made when they are asked for, by all
// processors; then 12 bytes a page lead from a hash to the page.

internal import Glibc
public import PageHash
internal import Synchronization
internal import Transport

/// A file's pages, found by their hashes.
///
/// Until ``announce(_:)`` has gone over it, nothing is found.
public final class HashedPages: KnownContent {
  private let file: PageFile
  private let places: Mutex<PagePlaces>

  /// Pages in one part of the work: 1 MiB of memory for each processor.
  private static let partPageCount = 256

  init(_ file: PageFile) {
    self.file = file
    places = Mutex(PagePlaces())
  }

  /// How many pages the file has, zero pages and repetitions included.
  public var pageCount: Int { file.pageCount }

  /// Hashes the file, unless that was done, and gives what it holds.
  public func announce(_ take: ([UInt64]) throws -> Bool) throws {
    let ready = PartQueue()
    places.withLock { $0.reserve(file.pageCount) }
    var threads: [NamedThread] = []
    let work: @Sendable () -> Void = { [self] in
      hash(ready)
      ready.finish()
    }
    defer {
      ready.close()
      for thread in threads { thread.join() }
    }
    let parts = (file.pageCount + Self.partPageCount - 1) / Self.partPageCount
    for _ in 0..<min(parts, Self.processorCount) {
      ready.begin()
      do {
        threads.append(try NamedThread(name: "godwit-known", work))
      } catch {
        ready.finish()
        // One is enough, if slower.
        guard threads.isEmpty else { break }
        throw error
      }
    }
    while let prefixes = ready.take() {
      guard try take(prefixes) else { return }
    }
  }

  /// Hashes parts until there are none left.
  private func hash(_ ready: PartQueue) {
    guard let digester = try? Digester() else { return }
    var buffer = PageRoom(pageCount: Self.partPageCount)
    while true {
      let first = ready.nextPage.add(Self.partPageCount, ordering: .relaxed).oldValue
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
      guard ready.put(prefixes) else { return }
    }
  }

  /// Reads the page with a hash.
  public func read(_ hash: ContentHash, into page: inout MutableRawSpan) -> Bool {
    guard let number = places.withLock({ $0.find(hash) }) else { return false }
    return file.read(from: number, into: &page) == 1
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

  /// Adds a page; whether it is the one that its hash leads to.
  mutating func insert(_ hash: ContentHash, page: Int) -> Bool {
    guard count < slots.count - 1 else { return false }
    var slot = home(hash)
    while slots[slot] != 0 {
      if slots[slot] & 0xFFFF_FFFF == Self.tag(hash) {
        return slots[slot] >> 32 == UInt64(page + 1)
      }
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

/// Parts of an announcement on their way from the threads that make them.
private final class PartQueue: Sendable {
  private struct State {
    var parts: [[UInt64]] = []
    var makers = 0
    var isClosed = false
  }

  /// Parts that may wait to be taken.
  private static let capacity = 64

  /// Where the next part begins.
  let nextPage = Atomic<Int>(0)
  private let state = Mutex(State())
  private let signal = Signal()

  /// One more thread makes parts.
  func begin() { state.withLock { $0.makers += 1 } }

  /// One of them is done.
  func finish() {
    state.withLock { $0.makers -= 1 }
    signal.announce()
  }

  /// Hands a part over; false when nobody wants any.
  func put(_ part: [UInt64]) -> Bool {
    while true {
      let seen = signal.changeCount
      let isDone: Bool? = state.withLock { state in
        if state.isClosed { return false }
        guard state.parts.count < Self.capacity else { return nil }
        if !part.isEmpty { state.parts.append(part) }
        return true
      }
      if let isDone {
        signal.announce()
        return isDone
      }
      signal.wait(after: seen, timeout: .seconds(1))
    }
  }

  /// The next part; none when all were made and taken.
  func take() -> [UInt64]? {
    while true {
      let seen = signal.changeCount
      let (part, isOver) = state.withLock { state -> ([UInt64]?, Bool) in
        if !state.parts.isEmpty { return (state.parts.removeFirst(), false) }
        return (nil, state.makers == 0)
      }
      if let part {
        signal.announce()
        return part
      }
      if isOver { return nil }
      signal.wait(after: seen, timeout: .seconds(1))
    }
  }

  /// No part is wanted any more.
  func close() {
    state.withLock { $0.isClosed = true }
    signal.announce()
  }
}
