// Drivers that mean harm: rings of anything, registers in any order, states of any bytes.

import GuestMemory
import Synchronization
import Testing

@testable import Devices

/// The devices that a driver can attack, by name.
enum VirtioKind: String, CaseIterable {
  case block, console, entropy, network, balloon

  var queueCount: Int {
    switch self {
    case .block, .entropy: 1
    case .console, .network: 2
    case .balloon: 5
    }
  }

  func make(_ machine: TestMachine, image: TemporaryImage) throws -> any VirtioDevice {
    let line = LineProbe().line
    switch self {
    case .block:
      return try VirtioBlock(memory: machine.space, line: line, path: image.path)
    case .console:
      return try VirtioConsole(memory: machine.space, line: line, backend: .none)
    case .entropy: return VirtioEntropy(memory: machine.space, line: line)
    case .network:
      return try VirtioNetwork(
        memory: machine.space, line: line, port: NetworkPort.pair().0,
        address: MACAddress(index: 0))
    case .balloon:
      let balloon = try VirtioBalloon(
        memory: machine.space, line: line, ramByteCount: UInt64(TestMachine.ramByteCount))
      balloon.pollStatistics(every: .milliseconds(10))
      return balloon
    }
  }
}

struct HostileDriverTests {
  /// Where rings and tables are put: two pages.
  private static let area: UInt64 = 0x2_0000
  private static let areaByteCount = 0x2000

  /// An address: mostly of RAM, now and then of something else, or at the edge of it.
  private func address(_ numbers: inout SeededNumbers) -> UInt64 {
    switch UInt8.random(in: 0..<16, using: &numbers) {
    case 0: UInt64.random(in: 0...UInt64.max, using: &numbers)
    case 1: TestMachine.rom + UInt64.random(in: 0..<0x1_0000, using: &numbers)
    case 2: TestMachine.registers + UInt64.random(in: 0..<0x1000, using: &numbers)
    case 3: UInt64.max - UInt64.random(in: 0..<64, using: &numbers)
    case 4: TestMachine.seam - UInt64.random(in: 0..<64, using: &numbers)
    case 5: UInt64(TestMachine.ramByteCount) - UInt64.random(in: 0..<64, using: &numbers)
    default: Self.area + UInt64.random(in: 0..<UInt64(Self.areaByteCount), using: &numbers)
    }
  }

  /// Fills the area with what may pass for descriptors, indices and request headers.
  private func fillArea(_ machine: TestMachine, _ numbers: inout SeededNumbers) {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.areaByteCount)
    while bytes.count < Self.areaByteCount {
      let roll = numbers.next()
      bytes.appendLittleEndian(roll & 7 == 0 ? roll >> 8 : address(&numbers))
      bytes.appendLittleEndian(
        roll & 0x38 == 0 ? UInt32(truncatingIfNeeded: roll >> 32) : UInt32(roll >> 8 & 0x3ff))
      bytes.appendLittleEndian(UInt16(roll >> 20 & 7))
      bytes.appendLittleEndian(UInt16(roll >> 24 & 15))
    }
    machine.put(bytes, at: Self.area)
  }

  private func attack(
    _ driver: FakeDriver, queueCount: Int, _ numbers: inout SeededNumbers
  ) {
    for queue in 0..<queueCount {
      driver.write(0x30, UInt32(queue))
      driver.write(0x38, [1, 2, 8, 16, 32].randomElement(using: &numbers) ?? 8)
      for (register, mask) in [(0x80, 15), (0x90, 1), (0xa0, 3)] as [(UInt64, UInt64)] {
        let place = address(&numbers) & ~mask
        driver.write(register, UInt32(truncatingIfNeeded: place))
        driver.write(register + 4, UInt32(truncatingIfNeeded: place >> 32))
      }
      driver.write(0x44, 1)
    }
    driver.write(0x70, 15)
    for _ in 0..<12 {
      let queue = Int.random(in: 0..<queueCount, using: &numbers)
      switch UInt8.random(in: 0..<8, using: &numbers) {
      case 0:
        driver.write(
          UInt64.random(in: 0..<0x120, using: &numbers) & ~3,
          UInt32(truncatingIfNeeded: numbers.next()))
      case 1:
        _ = driver.device.read(
          offset: UInt64.random(in: 0..<0x200, using: &numbers),
          byteCount: [1, 2, 4, 8].randomElement(using: &numbers) ?? 4)
      case 2: driver.write(0x70, [0, 3, 11, 15, 0x8f].randomElement(using: &numbers) ?? 0)
      default: driver.notify(queue)
      }
    }
  }

  @Test(.timeLimit(.minutes(3)), arguments: VirtioKind.allCases)
  func `no ring traps, hangs, or reaches beyond the memory`(kind: VirtioKind) throws {
    let machine = try TestMachine()
    let image = try TemporaryImage(sectors: 16)
    let hidden = try machine.ram.add(name: "hidden", byteCount: 0x1_0000)
    for seed in 0..<60 as Range<UInt64> {
      var numbers = SeededNumbers(seed: seed)
      let device = try kind.make(machine, image: image)
      let driver = FakeDriver(device, machine)
      device.resume()
      for _ in 0..<4 {
        fillArea(machine, &numbers)
        driver.write(0x70, 0)
        driver.write(0x70, 3)
        driver.write(0x24, 1)
        driver.write(0x20, 1)
        driver.write(0x24, 0)
        driver.write(0x20, Bool.random(using: &numbers) ? driver.read(0x10) : 0)
        driver.write(0x70, 11)
        attack(driver, queueCount: kind.queueCount, &numbers)
      }
      device.quiesce()
      // Whatever became of it, it can be saved and taken over.
      let other = try kind.make(machine, image: image)
      #expect(throws: Never.self, "seed \(seed)") { try move(from: device, to: other) }
      other.resume()
      other.quiesce()
      other.reset()
      #expect(other.read(offset: 0x70, byteCount: 4) == 0)
    }
    #expect(machine.forbidden.accesses.load(ordering: .relaxed) == 0)
    #expect(try machine.romBlock.isZero(offset: 0, byteCount: 0x1_0000))
    #expect(try hidden.isZero(offset: 0, byteCount: 0x1_0000))
  }

  @Test(.timeLimit(.minutes(3)), arguments: VirtioKind.allCases)
  func `a ring that changes under the device does no harm`(kind: VirtioKind) throws {
    let machine = try TestMachine()
    let image = try TemporaryImage(sectors: 16)
    let device = try kind.make(machine, image: image)
    device.resume()
    let isDone = Atomic<Bool>(false)
    let scribbler = try DeviceThread()
    // The seed is fixed; what it meets is not.
    let numbers = Mutex(SeededNumbers(seed: 99))
    try scribbler.start(name: "scribbler") {
      if isDone.load(ordering: .relaxed) { return nil }
      for _ in 0..<200 {
        let (place, value) = numbers.withLock { ($0.next(), $0.next()) }
        var bytes: [UInt8] = []
        bytes.appendLittleEndian(value & 0x0007_0007_0003_ffff)
        machine.put(
          bytes, at: Self.area + place % UInt64(Self.areaByteCount / 8) * 8)
      }
      return ThreadWait(isBusy: true)
    }
    scribbler.release()
    var own = SeededNumbers(seed: 1)
    for _ in 0..<60 {
      let driver = FakeDriver(device, machine, base: Self.area)
      driver.write(0x70, 0)
      driver.write(0x70, 3)
      driver.write(0x24, 1)
      driver.write(0x20, 1)
      driver.write(0x70, 11)
      attack(driver, queueCount: kind.queueCount, &own)
    }
    isDone.store(true, ordering: .relaxed)
    scribbler.end()
    device.quiesce()
    #expect(machine.forbidden.accesses.load(ordering: .relaxed) == 0)
    #expect(try machine.romBlock.isZero(offset: 0, byteCount: 0x1_0000))
  }

  @Test(arguments: VirtioKind.allCases)
  func `a state of any bytes is refused or harmless`(kind: VirtioKind) throws {
    let machine = try TestMachine()
    let image = try TemporaryImage(sectors: 16)
    let device = try kind.make(machine, image: image)
    let driver = FakeDriver(device, machine)
    device.resume()
    driver.start(queues: kind.queueCount)
    device.quiesce()
    let good = try #require(try device.vmstate.save()).payload
    var numbers = SeededNumbers(seed: 17)
    for _ in 0..<150 {
      var bytes = good
      for _ in 0..<Int.random(in: 1...12, using: &numbers) {
        bytes[Int.random(in: 0..<bytes.count, using: &numbers)] =
          UInt8.random(in: 0...255, using: &numbers)
      }
      if numbers.next() % 8 == 0 {
        bytes.removeLast(Int.random(in: 1..<bytes.count, using: &numbers))
      }
      let section = device.vmstate
      guard
        let pending = try? section.prepare(bytes[...], version: section.version, layout: nil)
      else { continue }
      try? pending.apply()
      device.resume()
      for queue in 0..<kind.queueCount { driver.notify(queue) }
      device.quiesce()
    }
    device.reset()
    device.resume()
    driver.start(queues: kind.queueCount)
    #expect(!driver.needsReset)
    device.quiesce()
  }
}
