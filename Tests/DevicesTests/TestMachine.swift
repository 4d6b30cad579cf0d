// A machine's memory and interrupt lines, for devices to be tested against.

import Glibc
import GuestMemory
import Synchronization
import Testing

@testable import Devices

/// Records what a device does to its line.
final class LineProbe: Sendable {
  private struct State {
    var level = false
    var riseCount = 0
  }
  private let state = Mutex(State())

  var line: InterruptLine {
    InterruptLine { level in
      self.state.withLock {
        if level && !$0.level { $0.riseCount += 1 }
        $0.level = level
      }
    }
  }
  var level: Bool { state.withLock { $0.level } }
  var riseCount: Int { state.withLock { $0.riseCount } }
}

/// Registers that no device may ever touch.
final class ForbiddenRegisters: MMIOHandler {
  let accesses = Atomic<Int>(0)
  func read(offset: UInt64, byteCount: Int) -> UInt64 {
    accesses.add(1, ordering: .relaxed)
    return 0
  }
  func write(offset: UInt64, byteCount: Int, value: UInt64) {
    accesses.add(1, ordering: .relaxed)
  }
}

/// One mebibyte of RAM made of two blocks that meet at 0x80000, ROM at 1 MiB, registers at 2 MiB,
/// nothing else.
struct TestMachine {
  static let ramByteCount = 1 << 20
  static let seam: UInt64 = 0x8_0000
  static let rom: UInt64 = 0x10_0000
  static let registers: UInt64 = 0x20_0000

  let ram = RAMList()
  let space: AddressSpace
  let blocks: [RAMBlock]
  let romBlock: RAMBlock
  let forbidden = ForbiddenRegisters()

  init() throws {
    let root = MemoryRegion.container(name: "root", byteCount: 1 << 40)
    space = AddressSpace(name: "memory", root: root, ram: ram)
    blocks = [
      try ram.add(name: "low", byteCount: 0x8_0000),
      try ram.add(name: "high", byteCount: 0x8_0000),
    ]
    romBlock = try ram.add(name: "rom", byteCount: 0x1_0000)
    let (blocks, romBlock, forbidden) = (blocks, romBlock, forbidden)
    try space.transaction {
      root.addSubregion(.ram(blocks[0]), at: 0)
      root.addSubregion(.ram(blocks[1]), at: Self.seam)
      root.addSubregion(.rom(romBlock), at: Self.rom)
      root.addSubregion(
        .mmio(name: "forbidden", byteCount: 0x1000, handler: forbidden), at: Self.registers)
    }
  }

  var memory: DeviceMemory { DeviceMemory(space) }

  func bytes(_ address: UInt64, _ count: Int) -> [UInt8] {
    (try? memory.read(address, byteCount: count)) ?? []
  }

  func put(_ bytes: [UInt8], at address: UInt64) {
    #expect(throws: Never.self) { try memory.write(bytes, at: address) }
  }

  func isDirty(_ address: UInt64) -> Bool {
    let block = blocks[address < Self.seam ? 0 : 1]
    let offset = Int(address < Self.seam ? address : address - Self.seam)
    return ram.dirty.isDirty(block.ramRange(offset: offset, byteCount: 1), for: .migration)
  }

  /// Begins to log what is written, with nothing dirty.
  func startLogging() throws {
    try space.startLogging(.migration)
    ram.dirty.setEnabled(.migration, true)
    for block in blocks { ram.dirty.clear(block.ramRange, for: .migration) }
  }
}

/// Waits up to ten seconds until something is so.
func eventually(_ what: String, _ condition: () -> Bool) {
  let deadline = ContinuousClock.now + .seconds(10)
  while !condition() {
    guard ContinuousClock.now < deadline else {
      Issue.record("waited in vain: \(what)")
      return
    }
    usleep(200)
  }
}

/// A small generator that gives the same numbers for the same seed everywhere.
struct SeededNumbers: RandomNumberGenerator {
  var state: UInt64
  init(seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 &+ 1 }
  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }
}
