// Reads and writes at guest addresses: what a guest may ask for, and what it should not.

import Testing

@testable import GuestMemory

/// A machine's address space with RAM, a hole, ROM and registers.
///
/// RAM lies at 0 to 0x4000 and 0x5000 to 0x6000 (of one block, swapped around), ROM at 0x6000 to
/// 0x7000, registers at 0x7000 to 0x8000.
struct AccessFixture {
  let ram = RAMList()
  let space: AddressSpace
  let block: RAMBlock
  let handler = EchoHandler()

  init() throws {
    block = try ram.add(name: "ram", byteCount: 0x5000)
    let rom = try ram.add(name: "rom", byteCount: 0x1000)
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 63)
    root.addSubregion(
      .ram(name: "low", block: block, offset: 0x1000, byteCount: 0x4000), at: 0)
    root.addSubregion(
      .ram(name: "high", block: block, offset: 0, byteCount: 0x1000), at: 0x5000)
    root.addSubregion(.rom(rom), at: 0x6000)
    root.addSubregion(.mmio(name: "uart", byteCount: 0x1000, handler: handler), at: 0x7000)
    root.addSubregion(
      .ram(name: "top", block: block, offset: 0, byteCount: 0x1000), at: (1 << 63) - 0x1000)
    space = AddressSpace(name: "memory", root: root, ram: ram)
  }

  func read(_ address: GuestAddress, _ count: Int) throws -> [UInt8] {
    var bytes = [UInt8](repeating: 0xEE, count: count)
    var span = bytes.mutableSpan
    var raw = span.mutableBytes
    try space.read(at: address, into: &raw)
    return bytes
  }

  func write(_ address: GuestAddress, _ bytes: [UInt8]) throws {
    try space.write(at: address, bytes.span.bytes)
  }
}

/// Registers that read as where they are, and remember what was written.
final class EchoHandler: MMIOHandler, @unchecked Sendable {
  private(set) var writes: [(offset: UInt64, byteCount: Int, value: UInt64)] = []

  func read(offset: UInt64, byteCount: Int) -> UInt64 {
    0xFFFF_FFFF_0000_0000 | offset << 8 | UInt64(byteCount)
  }

  func write(offset: UInt64, byteCount: Int, value: UInt64) {
    writes.append((offset, byteCount, value))
  }
}

struct AccessTests {
  @Test func `what is written across blocks' parts is read back`() throws {
    let fixture = try AccessFixture()
    let bytes = (0..<0x1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    try fixture.write(0x3000, bytes)
    #expect(try fixture.read(0x3000, 0x1000) == bytes)
    #expect(try fixture.read(0x3FF0, 16) == Array(bytes.suffix(16)))
    // RAM at 0x5000 is the block's beginning, and the top of all addresses shows it again.
    try fixture.write(0x5000, [1, 2, 3])
    #expect(try fixture.read(GuestAddress((1 << 63) - 0x1000), 4) == [1, 2, 3, 0])
    #expect(try fixture.read(0x6000, 2) == [0, 0], "ROM can be read")
    #expect(try fixture.read(0x2000, 0).isEmpty)
  }

  @Test(
    arguments: [
      (0x3FFF, 2, GuestMemoryError.unmapped(action: .read, address: 0x4000, byteCount: 1)),
      (0x4000, 1, .unmapped(action: .read, address: 0x4000, byteCount: 1)),
      (0x6FFF, 2, .notMemory(action: .read, address: 0x7000, region: "uart")),
      (.max, 2, .wraps(action: .read, address: GuestAddress(.max), byteCount: 2)),
      ((1 << 63) - 1, 2, .unmapped(action: .read, address: GuestAddress(1 << 63), byteCount: 1)),
    ] as [(UInt64, Int, GuestMemoryError)])
  func `a read of what is no memory is refused`(
    address: UInt64, count: Int, error: GuestMemoryError
  ) throws {
    let fixture = try AccessFixture()
    #expect(throws: error) { try fixture.read(GuestAddress(address), count) }
  }

  @Test(arguments: [0x4000, 0x5800, 0x6000, 0x7000, .max - 3, (1 << 63) - 2] as [UInt64])
  func `a write that cannot be whole changes nothing`(address: UInt64) throws {
    let fixture = try AccessFixture()
    try fixture.space.startLogging(.migration)
    #expect(throws: GuestMemoryError.self) {
      try fixture.write(GuestAddress(address), [UInt8](repeating: 9, count: 0x2000))
    }
    let dirty = fixture.ram.dirty
    #expect(dirty.dirtyPageCount(fixture.block.ramRange, for: .migration) == 0)
    #expect(try fixture.read(0x5000, 0x1000).allSatisfy { $0 == 0 })
    #expect(fixture.handler.writes.isEmpty, "devices reach no registers")
  }

  @Test func `lengths that no memory has are refused, whatever they add up to`() throws {
    let view = try AccessFixture().space.view
    for address in [0, 0x1000, 0x4000, 0x7000, 1 << 63, .max] as [UInt64] {
      for count in [-1, .min, .max, 1 << 40, Int.max - 0x1000] {
        #expect(throws: GuestMemoryError.self) {
          try view.pieces(.write, at: GuestAddress(address), byteCount: count)
        }
        #expect(throws: GuestMemoryError.self) {
          try view.withRAM(at: GuestAddress(address), byteCount: count) { _ in }
        }
      }
    }
  }

  @Test(arguments: 0..<20)
  func `random accesses of every kind match a map of bytes`(seed: Int) throws {
    var generator = SeededGenerator(seed: seed)
    let fixture = try AccessFixture()
    var model = [UInt8](repeating: 0, count: 0x5000)
    func place(_ address: Int) -> Int? {
      switch address {
      case 0..<0x4000: address + 0x1000
      case 0x5000..<0x6000: address - 0x5000
      default: nil
      }
    }
    for _ in 0..<200 {
      let address = Int.random(in: 0..<0x6000, using: &generator)
      let count = [1, 2, 4, 8].randomElement(using: &generator) ?? 1
      let places = (address..<address + count).map(place)
      let value = UInt64.random(in: 0...UInt64.max, using: &generator)
      let bytes = (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64($0 * 8)) }
      if generator.chance(50) {
        fixture.space.store(
          at: GuestAddress(UInt64(address)), byteCount: count, value: value)
        for (place, byte) in zip(places, bytes) {
          if let place { model[place] = byte }
        }
      } else if places.allSatisfy({ $0 != nil }) {
        try fixture.write(GuestAddress(UInt64(address)), bytes)
        for (place, byte) in zip(places, bytes) { model[place ?? 0] = byte }
      }
      guard !places.contains(where: { $0 == nil }) else { continue }
      let expected = places.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64(model[$1 ?? 0]) }
      #expect(
        fixture.space.load(at: GuestAddress(UInt64(address)), byteCount: count) == expected)
    }
    #expect(try fixture.read(0, 0x4000) == Array(model[0x1000...]))
    #expect(try fixture.read(0x5000, 0x1000) == Array(model[..<0x1000]))
  }

  @Test func `a processor reaches registers, and nothing where there is nothing`() throws {
    let fixture = try AccessFixture()
    let space = fixture.space
    #expect(space.load(at: 0x7010, byteCount: 2) == 0x1002, "cut to the access's size")
    #expect(space.load(at: 0x4800, byteCount: 4) == 0xFFFF_FFFF)
    #expect(space.load(at: GuestAddress(.max), byteCount: 8) == .max)
    space.store(at: 0x7020, byteCount: 4, value: 0x1_2345_6789)
    #expect(fixture.handler.writes.map(\.value) == [0x2345_6789])
    space.store(at: 0x4800, byteCount: 8, value: 1)
    space.store(at: GuestAddress(.max), byteCount: 8, value: 1)
    space.store(at: 0x6000, byteCount: 8, value: 1)
    #expect(space.load(at: 0x6000, byteCount: 8) == 0, "ROM stays as it is")
    // Half of it memory, half registers: byte by byte.
    space.store(at: 0x6FFE, byteCount: 4, value: 0xAABB_CCDD)
    #expect(fixture.handler.writes.map(\.value) == [0x2345_6789, 0xBB, 0xAA])
    #expect(space.load(at: 0x6FFF, byteCount: 2) == 0x0100)
  }

  @Test func `writes mark exactly the pages that they touch`() throws {
    let fixture = try AccessFixture()
    let dirty = fixture.ram.dirty
    try fixture.write(0, [1])
    #expect(dirty.dirtyPageCount(fixture.block.ramRange, for: .migration) == 0, "nobody asked")
    try fixture.space.startLogging(.migration)
    try fixture.write(0x0FFF, [1, 2])
    fixture.space.store(at: 0x5000, byteCount: 8, value: 1)
    fixture.space.store(at: 0x6000, byteCount: 8, value: 1)
    // Guest pages 0 and 1 are the block's 1 and 2; guest page 5 is its page 0.
    var found: [UInt64] = [0]
    var span = found.mutableSpan
    dirty.harvestAndClear(fixture.block.ramRange, for: .migration, into: &span)
    #expect(found == [0b111])
    try fixture.space.withMutableRAM(at: 0x3FFF, byteCount: 1) { bytes in
      bytes.storeBytes(of: 5, toByteOffset: 0, as: UInt8.self)
      #expect(dirty.dirtyPageCount(fixture.block.ramRange, for: .migration) == 0)
    }
    #expect(dirty.isDirty(RAMRange(pages: 4..<5), for: .migration), "marked afterwards")
  }

  @Test func `memory in two pieces is not lent as one`() throws {
    let fixture = try AccessFixture()
    let top = GuestAddress(UInt64(1) << 63 - 0x1000)
    #expect(
      throws: GuestMemoryError.notContiguous(
        address: 0x5FFF, byteCount: 2, contiguousByteCount: 1)
    ) { try fixture.space.withRAM(at: 0x5FFF, byteCount: 2) { _ in } }
    #expect(try fixture.space.withRAM(at: top, byteCount: 0x1000) { $0.byteCount } == 0x1000)
    let pieces = try fixture.space.pieces(.read, at: 0x5FF0, byteCount: 0x20)
    #expect(pieces.map(\.block.name) == ["ram", "rom"])
    #expect(pieces.map(\.byteCount) == [0x10, 0x10])
  }

  @Test func `memory taken out of the layout stays for those who hold it`() throws {
    let ram = RAMList()
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 20)
    let space = AddressSpace(name: "memory", root: root, ram: ram)
    weak var gone: RAMBlock?
    var view: FlatView?
    do {
      let block = try ram.add(name: "ram", byteCount: 4096)
      let region = MemoryRegion.ram(block)
      try space.transaction { root.addSubregion(region, at: 0) }
      space.store(at: 0, byteCount: 1, value: 7)
      view = space.view
      try space.transaction { root.removeSubregion(region) }
      ram.remove(block)
      gone = block
    }
    #expect(view?.load(at: 0, byteCount: 1) == 7)
    #expect(space.load(at: 0, byteCount: 1) == 0xFF)
    view = nil
    #expect(gone == nil)
  }
}
