// A guest in a few lines whose writes are followed as each source of dirty pages follows them, and
// the other side of its move.

import Testing

@testable import GuestMemory

/// How a source of dirty pages comes to know of a write, without a kernel.
final class ModelLog: DirtyLog {
  enum Kind: CaseIterable { case bitmap, clear, ring, writeProtect }

  let name = "model"
  let reason = "it is a test"
  let kind: Kind
  let block: RAMBlock
  /// Whether arming is left out, as a fault that a test has to find.
  nonisolated(unsafe) var isDeaf = false
  /// What the kernel has noted; with `clear` a page that is in here is not protected.
  nonisolated(unsafe) var noted: Set<Int> = []
  /// What was read from the kernel and may be cleared there (`clear`), or taken from a ring.
  nonisolated(unsafe) var fetched: Set<Int> = []

  private static let chunk = 8

  init(_ kind: Kind, _ block: RAMBlock) {
    self.kind = kind
    self.block = block
  }

  func start() {
    // KVM's log may begin with all pages in it, none of them protected.
    noted = kind == .clear ? Set(0..<block.pageCount) : []
    fetched = noted
  }

  func write(_ page: Int) { noted.insert(page) }

  /// Empties the ring, as its reaper does at any time.
  func reap() {
    guard kind == .ring else { return }
    fetched.formUnion(noted)
    noted = []
  }

  @discardableResult
  func sync() -> Int {
    reap()
    for page in kind == .ring ? fetched : noted {
      block.dirty.setAll(
        block.ramRange(offset: page * 4096, byteCount: 4096), for: .migration)
    }
    let count = noted.count
    switch kind {
    case .bitmap, .writeProtect: noted = []
    case .clear: fetched.formUnion(noted)
    case .ring: fetched = []
    }
    return count
  }

  func willSend(_ range: RAMRange) {
    guard kind == .clear, !isDeaf else { return }
    let first = block.ramRange.pages.lowerBound
    for page in range.pages where fetched.contains(page - first) {
      let start = (page - first) / Self.chunk * Self.chunk
      let cleared = fetched.intersection(start..<start + Self.chunk)
      noted.subtract(cleared)
      fetched.subtract(cleared)
    }
  }

  func stop() {}
}

/// A guest, its log, its move, and what the other side has.
final class FollowedGuest {
  /// What the guest makes of a page.
  enum Page: Equatable {
    /// It counts as it is: it was written, or taken back.
    case counts
    /// The guest does not need it.
    case free
  }

  let ram = RAMList()
  let block: RAMBlock
  let log: ModelLog
  let excluded: ExcludedPages
  var round: MigrationRound
  var pages: [Page]
  /// The first word of each page at the other side; zero where nothing came.
  var other: [UInt64]
  var sentPageCount = 0
  private var version: UInt64 = 0

  init(_ kind: ModelLog.Kind, pageCount: Int) throws {
    block = try ram.add(name: "pc.ram", byteCount: pageCount * 4096)
    log = ModelLog(kind, block)
    excluded = ExcludedPages(of: ram)
    pages = [Page](repeating: .counts, count: pageCount)
    other = [UInt64](repeating: 0, count: pageCount)
    // Nothing follows it yet; `begin` makes the real one.
    round = MigrationRound(firstOf: ram)
  }

  func begin() {
    log.start()
    round = MigrationRound(firstOf: ram, excluding: excluded, following: log)
  }

  func content(_ page: Int) -> UInt64 { block.loadWord(offset: page * 4096, byteCount: 8) }

  /// Writes as a processor does, which only the log sees; or as a device, which marks.
  func write(_ page: Int, byDevice: Bool = false) {
    version += 1
    if byDevice {
      block.storeWord(offset: page * 4096, byteCount: 8, value: version)
      // A device marks for clients that are on; a log of page tables sees it by itself.
      log.kind == .writeProtect ? log.write(page) : mark(page)
    } else {
      block.withUnsafeMemory(offset: page * 4096, byteCount: 8) { bytes in
        bytes.storeBytes(of: version, as: UInt64.self)
      }
      log.write(page)
    }
    pages[page] = .counts
  }

  private func mark(_ page: Int) {
    block.dirty.mark(block.ramRange(offset: page * 4096, byteCount: 4096), for: .migration)
  }

  func range(_ pages: Range<Int>) -> RAMRange {
    block.ramRange(offset: pages.lowerBound * 4096, byteCount: pages.count * 4096)
  }

  @discardableResult
  func declare(_ range: Range<Int>) -> Bool {
    let (offset, count) = (range.lowerBound * 4096, range.count * 4096)
    guard excluded.declare(block, offset: offset, byteCount: count) else { return false }
    for page in range { pages[page] = .free }
    return true
  }

  func hint(_ range: Range<Int>) {
    if excluded.hint(self.range(range)) { for page in range { pages[page] = .free } }
  }

  func takeBack(_ range: Range<Int>) {
    excluded.takeBack(self.range(range))
    for page in range { pages[page] = .counts }
  }

  /// Sends some pages; `between` happens after they were taken and before they are read.
  /// - Returns: whether there was anything to send.
  @discardableResult
  func send(limit: Int, between: () -> Void = {}) -> Bool {
    guard let run = round.nextRun(limit: limit) else { return false }
    if run.content == .memory { log.willSend(run.ramRange) }
    between()
    for page in run.pages { other[page] = run.content == .zeros ? 0 : content(page) }
    sentPageCount += run.pages.count
    return true
  }

  func sync() {
    log.sync()
    round.harvest()
  }

  /// The guest stands still, and all that is left goes.
  func finish() {
    sync()
    while send(limit: 1000) {}
    excluded.endMove()
  }

  /// The pages that the other side does not have as it should.
  ///
  /// A page that was hinted at soon after it was written may travel for all that.
  var wrongPages: [Int] {
    pages.indices.filter { page in
      other[page] != content(page) && !(pages[page] == .free && other[page] == 0)
    }
  }
}
