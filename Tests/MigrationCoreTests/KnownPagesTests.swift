// Pages that travel as hashes: the announcement, what is unconfirmed, what a miss means, and
// whether hashing pays.

import Testing
import Wire

@testable import MigrationCore

/// Numbers that follow from a seed.
struct SeededNumbers: RandomNumberGenerator {
  private var state: UInt64

  init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state &* 0x2545_f491_4f6c_dd1d
  }
}

@Suite struct KnownPagesTests {
  private static let blocks = [
    RAMBlockDescription(name: "a", usedLength: 64 << 12),
    RAMBlockDescription(name: "b", usedLength: 8 << 12),
  ]

  private static func source(_ announced: [UInt64] = []) -> KnownPagesSource {
    var source = KnownPagesSource(blocks: blocks, pageSize: 4096, seed: 42)
    source.announce(announced)
    source.endAnnouncement()
    return source
  }

  private static func page(_ number: UInt64, block: Int = 0) -> RAMPageAddress {
    RAMPageAddress(blockIndex: block, offset: number << 12)
  }

  /// As the macros of these names, which take no calls that change what they ask.
  private func expect(_ isTrue: Bool, at place: SourceLocation = #_sourceLocation) {
    #expect(isTrue, sourceLocation: place)
  }

  private func required<Value>(
    _ value: Value?, at place: SourceLocation = #_sourceLocation
  ) throws -> Value {
    try #require(value, sourceLocation: place)
  }

  // MARK: The set

  @Test(arguments: 0..<8)
  func `every announced prefix is found, and next to no other`(seed: Int) {
    var numbers = SeededNumbers(UInt64(seed))
    var set = KnownPagePrefixes(limit: 100_000, seed: numbers.next())
    let members = (0..<20_000).map { index in
      // Some have a part in common with all others, as an ill-willed peer would choose them.
      switch index % 4 {
      case 0: numbers.next() & ReturnPathMessage.prefixMask
      case 1: UInt64(index)
      case 2: UInt64(index) << 20
      default: 0xff_ffff_0000 | UInt64(index)
      }
    }
    let model = Set(members)
    for prefix in members { set.insert(prefix) }
    expect(set.count == model.count)
    expect(members.allSatisfy { set.contains($0) })
    expect(members.allSatisfy { !set.insert($0) })
    for _ in 0..<20_000 {
      let other = numbers.next() & ReturnPathMessage.prefixMask
      expect(set.contains(other) == model.contains(other))
    }
    expect(set.byteCount <= 10 * set.count)
  }

  @Test func `a set takes no more than its limit`() {
    var set = KnownPagePrefixes(limit: 100, seed: 7)
    for prefix in 0..<UInt64(1000) { set.insert(prefix) }
    expect(set.count == 100)
  }

  @Test func `prefixes that were chosen to lie together do not`() {
    // Whatever the number behind it: no run of neighbours makes insertion slow.
    for seed in 0..<4 as Range<UInt64> {
      var set = KnownPagePrefixes(limit: 1 << 20, seed: seed)
      for prefix in 0..<UInt64(100_000) { set.insert(prefix << 8) }
      expect(set.count == 100_000)
      expect(Self.longestStretch(in: set) < 256)
    }
  }

  /// How many slots a lookup has to look at, at most (but for stretches around a shard's end).
  private static func longestStretch(in set: KnownPagePrefixes) -> Int {
    var longest = 0
    for shard in set.shards {
      var current = 0
      for slot in shard.slots {
        current = slot == 0 ? 0 : current + 1
        longest = max(longest, current)
      }
    }
    return longest
  }

  // MARK: The announcement

  @Test func `an announcement that exceeds what was asked for is cut there`() {
    var source = Self.source()
    expect(source.limit == 1 << 16)
    for part in 0..<20 as Range<UInt64> {
      source.announce((0..<10_000).map { part * 10_000 + $0 })
    }
    expect(source.counts.announcedPages == source.limit)
    expect(source.counts.ignoredPages == 200_000 - source.limit)
  }

  @Test func `nothing is hashed for a destination that holds nothing`() {
    var source = Self.source()
    expect(!source.wantsHash(of: Self.page(0)))
  }

  // MARK: Confirmed and missed

  @Test func `a hash is unconfirmed until the answer to a barrier behind it`() throws {
    var source = Self.source([1, 2, 3])
    expect(source.beginBarrier() == nil)
    expect(source.sendsHash(of: Self.page(0), prefix: 1))
    expect(!source.sendsHash(of: Self.page(1), prefix: 9))
    let first = try required(source.beginBarrier())
    expect(source.sendsHash(of: Self.page(2), prefix: 2))
    expect(source.beginBarrier() == nil)
    expect(source.unconfirmedCount == 2)
    expect(!source.pong(first &+ 1))
    expect(source.pong(first))
    expect(source.unconfirmedCount == 1)
    let second = try required(source.beginBarrier())
    expect(second != first)
    expect(!source.pong(first))
    expect(source.pong(second))
    expect(source.unconfirmedCount == 0)
    expect(source.counts.hashedPages == 2)
    expect(source.counts.savedBytes == 2 * 4096)
  }

  @Test func `a missed page is to be sent with its content, once, and never as a hash again`()
    throws
  {
    var source = Self.source([1, 2])
    expect(source.sendsHash(of: Self.page(5), prefix: 1))
    expect(source.sendsHash(of: Self.page(5, block: 1), prefix: 2))
    try expect(source.miss(block: "a", offsets: [5 << 12]) == [Self.page(5)])
    try expect(source.miss(block: "a", offsets: [5 << 12]) == [])
    expect(!source.wantsHash(of: Self.page(5)))
    expect(source.wantsHash(of: Self.page(6)))
    expect(source.counts.missedPages == 1)
    expect(source.counts.savedBytes == 4096)
  }

  @Test func `a miss of what was sent otherwise since means nothing`() throws {
    var source = Self.source([1])
    expect(source.sendsHash(of: Self.page(5), prefix: 1))
    source.sendsContent(of: Self.page(5))
    try expect(source.miss(block: "a", offsets: [5 << 12, 6 << 12]) == [])
    expect(source.unconfirmedCount == 0)
    expect(source.counts.missedPages == 0)
  }

  @Test func `a miss of a hash that another one followed counts for the later one`() throws {
    var source = Self.source([1, 2])
    expect(source.sendsHash(of: Self.page(5), prefix: 1))
    let barrier = try required(source.beginBarrier())
    expect(source.sendsHash(of: Self.page(5), prefix: 2))
    expect(source.unconfirmedCount == 1)
    expect(source.pong(barrier))
    expect(source.unconfirmedCount == 1)
    try expect(source.miss(block: "a", offsets: [5 << 12]) == [Self.page(5)])
  }

  @Test(arguments: [("a", 64 << 12), ("a", 5), ("b", 8 << 12), ("c", 0)] as [(String, UInt64)])
  func `missed pages that there are not end the move`(block: String, offset: UInt64) {
    var source = Self.source([1])
    #expect(throws: ProtocolViolation.self) {
      _ = try source.miss(block: block, offsets: [offset])
    }
  }

  // MARK: Whether it pays

  @Test func `where nothing is known one page in sixteen is hashed`() {
    var source = Self.source([1])
    var hashed = 0
    for index in 0..<10_000 {
      let page = Self.page(UInt64(index % 64))
      if source.wantsHash(of: page) {
        hashed += 1
        expect(!source.sendsHash(of: page, prefix: 77))
      }
    }
    expect(hashed < 64 + 10_000 / 16 + 2)
  }

  @Test func `where known pages come back every page is hashed again`() {
    var source = Self.source([1])
    func run(_ prefix: UInt64) -> Int {
      (0..<3200).count { index in
        let page = Self.page(UInt64(index % 64))
        guard source.wantsHash(of: page) else { return false }
        _ = source.sendsHash(of: page, prefix: prefix)
        return true
      }
    }
    _ = run(77)
    expect(run(1) > 3200 - 16)
  }

  // MARK: The destination's side

  @Test func `misses are told in few messages, each once`() {
    var missed = MissedPages(blocks: Self.blocks, pageSize: 4096)
    missed.miss(Self.page(1))
    missed.miss(Self.page(2))
    missed.miss(Self.page(0, block: 1))
    expect(
      missed.takeMessages() == [
        .missedPages(block: "a", offsets: [4096, 8192]), .missedPages(block: "b", offsets: [0]),
      ])
    expect(missed.takeMessages() == [])
    expect(missed.count == 3)
    missed.arrive(Self.page(2))
    missed.arrive(Self.page(3))
    expect(missed.count == 2)
    missed.discard(block: "a", [RAMDiscardRange(start: 0, length: .max)])
    missed.discard(block: "b", [RAMDiscardRange(start: .max, length: 1)])
    missed.discard(block: "z", [RAMDiscardRange(start: 0, length: 1)])
    expect(missed.count == 1)
  }

  @Test func `more misses than one message carries go in several`() {
    var missed = MissedPages(
      blocks: [RAMBlockDescription(name: "a", usedLength: 5000 << 12)], pageSize: 4096)
    for page in 0..<UInt64(5000) { missed.miss(Self.page(page)) }
    let counts = missed.takeMessages().map { message in
      if case .missedPages(_, let offsets) = message { offsets.count } else { 0 }
    }
    expect(counts == [4096, 904])
  }
}
