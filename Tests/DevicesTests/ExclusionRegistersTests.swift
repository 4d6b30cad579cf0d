// A guest says which pages nobody needs; whatever it says, nothing else is touched.

import GuestMemory
import Testing

@testable import Devices

struct ExclusionRegistersTests {
  private final class Setup {
    let machine: TestMachine
    let excluded: ExcludedPages
    let registers: ExclusionRegisters
    static let list: UInt64 = 0x4000

    init() throws {
      machine = try TestMachine()
      excluded = ExcludedPages(of: machine.ram)
      registers = ExclusionRegisters(memory: machine.space, excluded: excluded)
    }

    func read(_ offset: UInt64) -> UInt64 { registers.read(offset: offset, byteCount: 4) }

    /// Writes a list and a command; the result.
    @discardableResult
    func command(_ number: UInt64, _ ranges: [(UInt64, UInt64)]) -> UInt64 {
      var bytes: [UInt8] = []
      for (first, count) in ranges {
        bytes.appendLittleEndian(first)
        bytes.appendLittleEndian(count)
      }
      machine.put(bytes, at: Self.list)
      return command(number, at: Self.list, count: UInt64(ranges.count))
    }

    func command(_ number: UInt64, at list: UInt64, count: UInt64) -> UInt64 {
      registers.write(offset: 0x10, byteCount: 8, value: list)
      registers.write(offset: 0x18, byteCount: 4, value: count)
      registers.write(offset: 0x1c, byteCount: 4, value: number)
      return read(0x1c)
    }

    func fill(_ pages: Range<UInt64>) {
      for page in pages { machine.put([0x5a], at: page << 12) }
    }

    func first(_ page: UInt64) -> UInt8 { machine.bytes(page << 12, 1)[0] }
  }

  @Test func `a guest finds the registers and their limits`() throws {
    let setup = try Setup()
    #expect(setup.read(0) == 0x5857_4447)
    #expect(setup.read(4) == 1)
    #expect(setup.read(8) == 256)
    #expect(setup.read(12) == 16384)
    setup.registers.write(offset: 0x10, byteCount: 4, value: 0x9abc_def0)
    setup.registers.write(offset: 0x14, byteCount: 4, value: 0x1234_5678)
    #expect(setup.registers.read(offset: 0x10, byteCount: 8) == 0x1234_5678_9abc_def0)
    #expect(setup.read(0x14) == 0x1234_5678)
  }

  @Test func `declared pages are zeros at once, over the seam of two blocks too`() throws {
    let setup = try Setup()
    setup.fill(0x70..<0x90)
    #expect(setup.command(1, [(0x78, 0x10), (0x8a, 1), (0x60, 0)]) == 0)
    #expect(setup.excluded.declaredPageCount == 17)
    #expect((0x78..<0x88 as Range<UInt64>).allSatisfy { setup.first($0) == 0 })
    #expect(setup.first(0x77) == 0x5a && setup.first(0x88) == 0x5a && setup.first(0x8a) == 0)
    #expect(setup.command(2, [(0x78, 8)]) == 0)
    #expect(setup.excluded.declaredPageCount == 9)
    #expect(setup.command(3, []) == 0)
    #expect(setup.excluded.declaredPageCount == 0)
  }

  @Test func `a list that asks for anything but memory does nothing at all`() throws {
    let setup = try Setup()
    setup.fill(0x60..<0x64)
    let good: (UInt64, UInt64) = (0x60, 4)
    let hostile: [([(UInt64, UInt64)], UInt64)] = [
      ([good, (0xff, 2)], 4),  // from memory into ROM
      ([good, (0x100, 1)], 4),  // ROM
      ([good, (0x200, 1)], 4),  // registers
      ([good, (0x4000, 1)], 4),  // nothing
      ([good, (.max, 1)], 4),  // beyond every address
      ([good, (UInt64.max >> 12, 1)], 4),  // the last page that there could be
      ([good, (0x61, .max)], 2), ([good, (0, 16381)], 2),
      ([(UInt64, UInt64)](repeating: good, count: 257), 2),
    ]
    for (ranges, result) in hostile {
      #expect(setup.command(1, ranges) == result, "\(ranges.last ?? good)")
      #expect(setup.command(2, ranges) == result)
    }
    for (address, count) in [
      (TestMachine.registers, 1), (0x40_0000, 1), (UInt64.max - 7, 1),
      (UInt64(TestMachine.ramByteCount) - 8 + (2 << 20), 1),
    ] as [(UInt64, UInt64)] {
      #expect(setup.command(1, at: address, count: count) == 3)
    }
    #expect(setup.command(1, at: Setup.list, count: 0xffff_ffff) == 2)
    for command in [0, 4, 0xffff_ffff] as [UInt64] { #expect(setup.command(command, [good]) == 1) }
    #expect(setup.excluded.declaredPageCount == 0)
    #expect(setup.first(0x60) == 0x5a)
    #expect(setup.machine.forbidden.accesses.load(ordering: .relaxed) == 0)
  }

  @Test func `odd accesses change nothing`() throws {
    let setup = try Setup()
    setup.fill(0x60..<0x61)
    setup.command(4, [(0x60, 1)])
    for offset in 0..<64 as Range<UInt64> {
      for byteCount in [1, 2, 4, 8] where !(byteCount == 4 && offset % 4 == 0) {
        if offset == 0x10, byteCount == 8 { continue }
        setup.registers.write(offset: offset, byteCount: byteCount, value: 1)
        #expect(setup.registers.read(offset: offset, byteCount: byteCount) == 0)
      }
    }
    #expect(setup.first(0x60) == 0x5a)
    #expect(setup.registers.read(offset: 0x10, byteCount: 8) == Setup.list)
  }

  @Test func `a list that lies in the pages it declares is read before`() throws {
    let setup = try Setup()
    setup.fill(0x60..<0x62)
    #expect(setup.command(1, [(Setup.list >> 12, 1), (0x60, 2)]) == 0)
    #expect(setup.first(0x61) == 0)
    #expect(setup.machine.bytes(Setup.list, 16) == [UInt8](repeating: 0, count: 16))
  }

  @Test func `while pages still arrive nothing is declared`() throws {
    let setup = try Setup()
    setup.fill(0x60..<0x64)
    setup.excluded.allowEmptying(false)
    #expect(setup.command(1, [(0x60, 4)]) == 5)
    #expect(setup.first(0x60) == 0x5a && setup.excluded.declaredPageCount == 0)
    setup.excluded.allowEmptying(true)
    #expect(setup.command(1, [(0x60, 4)]) == 0)
  }

  @Test func `the registers move, and a reset forgets what was said`() throws {
    let setup = try Setup()
    #expect(try setup.registers.vmstate.save() == nil, "nobody has used it")
    setup.fill(0x60..<0x64)
    setup.command(1, [(0x60, 4)])
    let target = ExclusionRegisters(
      memory: setup.machine.space, excluded: ExcludedPages(of: setup.machine.ram))
    try move(from: setup.registers, to: target)
    #expect(target.read(offset: 0x10, byteCount: 8) == Setup.list)
    setup.registers.reset()
    #expect(setup.excluded.declaredPageCount == 0)
    #expect(setup.registers.read(offset: 0x10, byteCount: 8) == 0)
  }
}
