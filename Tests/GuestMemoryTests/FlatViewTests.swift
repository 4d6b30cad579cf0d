// The flat view against a map of single bytes, and what its listeners are told.

import Testing

@testable import GuestMemory

struct FlatViewTests {
  @Test(arguments: 0..<200)
  func `a view answers for every byte as the tree does`(seed: Int) throws {
    let tree = try RandomTree(seed: seed)
    let space = AddressSpace(name: "memory", root: tree.root, ram: tree.ram)
    check(space.view, against: tree.root)
    for _ in 0..<8 {
      try space.transaction { tree.change() }
      check(space.view, against: tree.root)
    }
  }

  private func check(_ view: FlatView, against root: MemoryRegion) {
    for address in 0..<RandomTree.byteCount + 8 {
      let found = Answer(view.range(at: GuestAddress(address)), at: address)
      let expected = Answer.find(in: root, at: Int(address))
      #expect(found == expected, "address \(address)")
    }
    for (range, next) in zip(view.ranges, view.ranges.dropFirst()) {
      #expect(range.guest.byteCount > 0)
      #expect(range.guest.end <= next.guest.start)
      #expect(!range.isContinued(by: next), "\(range) and \(next) are one")
    }
  }

  @Test(arguments: 0..<100)
  func `a listener that does as it is told has the view`(seed: Int) throws {
    let tree = try RandomTree(seed: seed &+ 1000)
    let space = AddressSpace(name: "memory", root: tree.root, ram: tree.ram)
    let mirror = MirrorListener()
    try space.addListener(mirror)
    for step in 0..<12 {
      try space.transaction { for _ in 0...step % 3 { tree.change() } }
      mirror.check(against: space.view)
      if step == 4 { try space.startLogging(.migration) }
      if step == 8 { try space.stopLogging(.migration) }
      mirror.check(against: space.view)
    }
    try space.removeListener(mirror)
    #expect(mirror.ranges.isEmpty)
  }

  @Test func `logging that cannot be started is begun by nobody, and can be tried again`() throws {
    let tree = try RandomTree(seed: 3)
    let space = AddressSpace(name: "memory", root: tree.root, ram: tree.ram)
    let (mirror, failing) = (MirrorListener(), MirrorListener())
    try space.addListener(mirror)
    try space.addListener(failing)
    failing.failure = .listenerFailed(listener: "a mirror", reason: "it is to fail")
    #expect(throws: GuestMemoryError.self) { try space.startLogging(.migration) }
    #expect(mirror.logged.isEmpty)
    #expect(failing.logged.isEmpty)
    #expect(space.view.ranges.allSatisfy { $0.logClients.isEmpty })
    failing.failure = nil
    try space.startLogging(.migration)
    #expect(!mirror.logged.isEmpty)
    mirror.check(against: space.view)
    failing.check(against: space.view)
    try space.stopLogging(.migration)
    #expect(mirror.logged.isEmpty)
  }

  @Test func `of equal priorities the one added last is seen`() throws {
    let ram = RAMList()
    let first = MemoryRegion.ram(try ram.add(name: "first", byteCount: 4096))
    let second = MemoryRegion.ram(try ram.add(name: "second", byteCount: 4096))
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 20)
    root.addSubregion(first, at: 0)
    root.addSubregion(second, at: 0)
    let space = AddressSpace(name: "memory", root: root, ram: ram)
    #expect(space.view.ranges.map(\.region.name) == ["second"])
    try space.transaction {
      root.removeSubregion(first)
      root.addSubregion(first, at: 2048, priority: -1)
    }
    #expect(space.view.ranges.map(\.region.name) == ["second", "first"])
  }

  @Test func `an alias whose target begins before address 0 shows the rest of it`() throws {
    let ram = RAMList()
    let target = MemoryRegion.ram(try ram.add(name: "ram", byteCount: 8192))
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 63)
    root.addSubregion(.alias(name: "high", of: target, offset: 4096, byteCount: 4096), at: 0)
    root.addSubregion(
      .alias(name: "end", of: target, offset: 0, byteCount: 8192), at: (1 << 63) - 4096)
    root.addSubregion(
      .alias(name: "beyond", of: target, offset: .max, byteCount: 4096), at: 1 << 40)
    let view = AddressSpace(name: "memory", root: root, ram: ram).view
    #expect(view.ranges.map(\.guest.start) == [0, GuestAddress((1 << 63) - 4096)])
    #expect(view.ranges.map(\.offsetInRegion) == [4096, 0])
    #expect(view.ranges.map(\.guest.byteCount) == [4096, 4096])
    #expect(view.range(at: GuestAddress(.max)) == nil)
  }

  @Test func `a transaction inside another is a part of it`() throws {
    let ram = RAMList()
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 20)
    let space = AddressSpace(name: "memory", root: root, ram: ram)
    let block = MemoryRegion.ram(try ram.add(name: "ram", byteCount: 4096))
    let mirror = MirrorListener()
    try space.addListener(mirror)
    try space.transaction { () throws(GuestMemoryError) in
      try space.transaction { root.addSubregion(block, at: 0) }
      #expect(space.view.ranges.isEmpty)
      try space.transaction {
        root.removeSubregion(block)
        root.addSubregion(block, at: 4096)
      }
    }
    #expect(space.view.ranges.map(\.guest.start) == [4096])
    #expect(mirror.commitCount == 2, "once when added, once for all of it")
  }

  @Test func `a change that shows nothing new is told to nobody`() throws {
    let ram = RAMList()
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 20)
    let space = AddressSpace(name: "memory", root: root, ram: ram)
    let mirror = MirrorListener()
    try space.addListener(mirror)
    let before = space.view
    try space.transaction {
      root.addSubregion(.container(name: "empty", byteCount: 4096), at: 0)
    }
    #expect(mirror.commitCount == 1)
    #expect(space.view === before)
  }

  @Test func `a listener's failure is told once everybody knows the change`() throws {
    let ram = RAMList()
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 20)
    let space = AddressSpace(name: "memory", root: root, ram: ram)
    let failing = MirrorListener()
    let other = MirrorListener()
    try space.addListener(failing)
    try space.addListener(other)
    let block = MemoryRegion.ram(try ram.add(name: "ram", byteCount: 4096))
    let failure = GuestMemoryError.listenerFailed(listener: "a mirror", reason: "it is broken")
    failing.failure = failure
    #expect(throws: failure) { try space.transaction { root.addSubregion(block, at: 0) } }
    other.check(against: space.view)
    #expect(other.ranges.count == 1)
  }

  @Test func `a transaction that fails leaves what it had done, and says why`() throws {
    let ram = RAMList()
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 20)
    let space = AddressSpace(name: "memory", root: root, ram: ram)
    let block = MemoryRegion.ram(try ram.add(name: "ram", byteCount: 4096))
    let failure = GuestMemoryError.badBlock(name: "x", reason: "y")
    #expect(throws: failure) {
      try space.transaction { () throws(GuestMemoryError) in
        root.addSubregion(block, at: 0)
        throw failure
      }
    }
    #expect(space.view.ranges.count == 1)
  }

  @Test func `pages of RAM are found wherever they are shown`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "ram", byteCount: 1 << 20)
    let region = MemoryRegion.ram(block)
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 32)
    root.addSubregion(region, at: 0)
    root.addSubregion(
      .alias(name: "high", of: region, offset: 0x4000, byteCount: 0x4000), at: 1 << 30)
    let view = AddressSpace(name: "memory", root: root, ram: ram).view
    var found: [(GuestAddress, Range<UInt64>)] = []
    try view.forEachRange(showing: block.ramRange(offset: 0x5000, byteCount: 0x8000)) {
      found.append(($0.guest.start, $1))
    }
    #expect(found.map(\.0) == [0, GuestAddress(1 << 30)])
    #expect(found.map(\.1) == [0x5000..<0xd000, 0x1000..<0x4000])
  }
}

/// Keeps what it was told, and notices what it should not have been told.
final class MirrorListener: MemoryListener, @unchecked Sendable {
  private(set) var ranges: [GuestAddress: FlatRange] = [:]
  private(set) var logged: [GuestAddress: DirtyClients] = [:]
  private(set) var commitCount = 0
  private var isChanging = false
  private var lastDeleted: GuestAddress?
  private var lastPresent: GuestAddress?
  var failure: GuestMemoryError?

  let listenerName = "a mirror"

  func begin() {
    #expect(!isChanging)
    isChanging = true
    (lastDeleted, lastPresent) = (nil, nil)
  }

  func commit() throws(GuestMemoryError) {
    #expect(isChanging)
    isChanging = false
    commitCount += 1
    if let failure { throw failure }
  }

  func regionAdded(_ range: FlatRange) {
    #expect(lastPresent.map { $0 < range.guest.start } ?? true)
    lastPresent = range.guest.start
    #expect(ranges[range.guest.start] == nil)
    for other in ranges.values {
      #expect(other.guest.end <= range.guest.start || range.guest.end <= other.guest.start)
    }
    ranges[range.guest.start] = range
  }

  func regionDeleted(_ range: FlatRange) {
    #expect(lastPresent == nil, "deletions come first")
    #expect(lastDeleted.map { $0 > range.guest.start } ?? true)
    lastDeleted = range.guest.start
    #expect(ranges.removeValue(forKey: range.guest.start)?.isSameMapping(as: range) == true)
    #expect(logged[range.guest.start] == nil, "logging ends before a range does")
  }

  func regionUnchanged(_ range: FlatRange) {
    #expect(ranges[range.guest.start]?.isSameMapping(as: range) == true)
    ranges[range.guest.start] = range
  }

  func logStart(_ range: FlatRange, from old: DirtyClients) {
    #expect(logged[range.guest.start] ?? [] == old)
    logged[range.guest.start] = range.logClients.union(old)
  }

  func logStop(_ range: FlatRange, from old: DirtyClients) {
    // A range can be logged for some clients more and for others less in one change.
    #expect((logged[range.guest.start] ?? []).isSuperset(of: old))
    // At a deletion `range` is as it was; all of its logging ends.
    let isDeletion = range.logClients == old
    logged[range.guest.start] = isDeletion || range.logClients.isEmpty ? nil : range.logClients
  }

  func check(against view: FlatView) {
    #expect(ranges.count == view.ranges.count)
    for range in view.ranges {
      #expect(ranges[range.guest.start]?.isSameMapping(as: range) == true)
      #expect(logged[range.guest.start] ?? [] == range.logClients)
    }
    #expect(!isChanging)
  }
}
