// The MMIO transport's registers: identity, negotiation, queues, interrupts.

import Testing

@testable import Devices

struct VirtioTransportTests {
  private func entropy() throws -> (FakeDriver, TestMachine, LineProbe) {
    let machine = try TestMachine()
    let probe = LineProbe()
    let device = VirtioEntropy(memory: machine.space, line: probe.line)
    return (FakeDriver(device, machine), machine, probe)
  }

  @Test func `the registers say what is there`() throws {
    let (driver, _, _) = try entropy()
    #expect(driver.read(0x00) == 0x7472_6976)
    #expect(driver.read(0x04) == 2)
    #expect(driver.read(0x08) == 4)
    #expect(driver.read(0x34) == 64)
    driver.write(0x30, 1)
    #expect(driver.read(0x34) == 0, "there is no second queue")
    driver.write(0x14, 1)
    #expect(driver.read(0x10) & 1 == 1, "virtio 1.0 or later")
    driver.write(0x14, 9)
    #expect(driver.read(0x10) == 0)
    #expect(driver.read(0xb0) == .max, "no shared memory")
    #expect(driver.device.read(offset: 0, byteCount: 1) == 0, "four bytes at a time")
    #expect(driver.device.read(offset: 0xfff, byteCount: 8) == 0)
  }

  @Test(arguments: [0, 1, 1 << 32 | 1, 1 << 28] as [UInt64])
  func `features that do not fit are refused`(features: UInt64) throws {
    let (driver, _, _) = try entropy()
    driver.write(0x70, 3)
    driver.write(0x24, 0)
    driver.write(0x20, UInt32(truncatingIfNeeded: features))
    driver.write(0x24, 1)
    driver.write(0x20, UInt32(truncatingIfNeeded: features >> 32))
    driver.write(0x70, 11)
    #expect(driver.read(0x70) == 3)
  }

  @Test(arguments: [0, 3, 128] as [UInt32])
  func `a queue of an impossible size is not made ready`(size: UInt32) throws {
    let (driver, _, _) = try entropy()
    driver.write(0x38, size)
    driver.write(0x44, 1)
    #expect(driver.read(0x44) == 0)
  }

  @Test func `a misplaced ring is not made ready, and a ready one stays where it is`() throws {
    let (driver, _, _) = try entropy()
    driver.write(0x38, 8)
    driver.write(0xa0, 2)
    driver.write(0x44, 1)
    #expect(driver.read(0x44) == 0)
    driver.write(0xa0, 0x4000)
    driver.write(0x44, 1)
    #expect(driver.read(0x44) == 1)
    driver.write(0xa0, 0x8000)
    let core = (driver.device as? VirtioEntropy)?.core
    #expect(core?.capture().registers.queues[0].used == 0x4000)
    driver.write(0x44, 0)
    #expect(driver.read(0x44) == 0)
  }

  @Test func `an interrupt stays until it is acknowledged`() throws {
    let (driver, machine, probe) = try entropy()
    driver.start(queues: 1)
    driver.add(0, writable: [(0x4000, 32)])
    #expect(!probe.level)
    driver.notify(0)
    #expect(probe.level)
    #expect(driver.read(0x60) == 1)
    #expect(driver.collect(0) == [.init(head: 0, byteCount: 32)])
    #expect(machine.bytes(0x4000, 32) != [UInt8](repeating: 0, count: 32))
    driver.write(0x64, 1)
    #expect(!probe.level)
    #expect(driver.read(0x60) == 0)
  }

  @Test func `acknowledging one cause of two makes a new edge`() throws {
    let (driver, _, probe) = try entropy()
    driver.start(queues: 1)
    let core = try #require((driver.device as? VirtioEntropy)?.core)
    driver.add(0, writable: [(0x4000, 1)])
    driver.notify(0)
    core.changeConfiguration { _ in }
    #expect(driver.read(0x60) == 3)
    #expect(driver.read(0xfc) == 1, "the configuration's generation")
    #expect(probe.riseCount == 1)
    driver.write(0x64, 1)
    #expect(probe.level && probe.riseCount == 2)
  }

  @Test func `a reset forgets everything`() throws {
    let (driver, _, probe) = try entropy()
    driver.start(queues: 1)
    driver.add(0, writable: [(0x4000, 1)])
    driver.notify(0)
    driver.write(0x70, 0)
    #expect(driver.read(0x70) == 0)
    #expect(driver.read(0x60) == 0)
    #expect(driver.read(0x44) == 0)
    #expect(!probe.level)
    driver.start(queues: 1)
    driver.add(0, writable: [(0x4000, 1)])
    driver.notify(0)
    #expect(driver.collect(0).count == 1)
  }

  @Test func `what is available before the driver is ready is served then`() throws {
    let (driver, _, _) = try entropy()
    driver.start(queues: 1)
    driver.write(0x70, 11)  // not a legal thing to do, and harmless
    driver.add(0, writable: [(0x4000, 8)])
    driver.notify(0)
    #expect(driver.collect(0).isEmpty)
    driver.write(0x70, 15)
    #expect(driver.collect(0).count == 1)
  }
}

struct VirtioQueueTests {
  private func entropy(
    features: UInt64? = nil
  ) throws -> (FakeDriver, TestMachine, LineProbe) {
    let machine = try TestMachine()
    let probe = LineProbe()
    let device = VirtioEntropy(memory: machine.space, line: probe.line)
    let driver = FakeDriver(device, machine, size: 8)
    driver.start(queues: 1, features: features)
    return (driver, machine, probe)
  }

  @Test func `a queue goes round and round`() throws {
    let (driver, _, _) = try entropy()
    // The indices count round at 65,536; so far takes long in a debug build, so they start late.
    let core = try #require((driver.device as? VirtioEntropy)?.core)
    core.withState {
      $0.registers.queues[0].nextAvailable = 65_530
      $0.registers.queues[0].nextUsed = 65_530
    }
    driver.jump(0, to: 65_530)
    for round in 0..<20 {
      driver.add(0, writable: [(0x4000, 4), (0x5000, 3)])
      driver.add(0, writable: [(0x6000, 1)])
      driver.notify(0)
      #expect(driver.collect(0).map(\.byteCount) == [7, 1], "round \(round)")
    }
  }

  @Test func `an indirect table is followed`() throws {
    let (driver, machine, _) = try entropy()
    driver.add(
      0, writable: (0..<40).map { (0x4_0000 + $0 * 0x100, 16) }, indirectTable: 0x3_0000)
    driver.notify(0)
    #expect(driver.collect(0).first?.byteCount == 640)
    #expect(machine.bytes(0x4_0000 + 39 * 0x100, 16) != [UInt8](repeating: 0, count: 16))
  }

  @Test func `with events the driver is told only what it asked for`() throws {
    let (driver, machine, probe) = try entropy(features: VirtioFeature.transport)
    func use() {
      driver.add(0, writable: [(0x4000, 1)])
      driver.notify(0)
      driver.write(0x64, 3)
    }
    use()
    #expect(probe.riseCount == 1, "the first is always told")
    let usedEvent = driver.availableRing(0) + 4 + 16
    machine.put([3, 0], at: usedEvent)
    use()
    use()
    #expect(probe.riseCount == 1)
    use()
    #expect(probe.riseCount == 2, "the fourth was asked for")
    let availableEvent = machine.bytes(driver.usedRing(0) + 4 + 64, 2)
    #expect(
      availableEvent.littleEndian(UInt16.self, at: 0) == 4, "the device wants to hear of the fifth")
  }

  @Test func `without events the driver may ask for silence`() throws {
    let (driver, machine, probe) = try entropy()
    machine.put([1, 0], at: driver.availableRing(0))
    driver.add(0, writable: [(0x4000, 1)])
    driver.notify(0)
    #expect(driver.collect(0).count == 1)
    #expect(!probe.level)
  }

  @Test func `pieces may straddle the seam of two blocks`() throws {
    let (driver, machine, _) = try entropy()
    try machine.startLogging()
    driver.add(0, writable: [(TestMachine.seam - 8, 16)])
    driver.notify(0)
    #expect(driver.collect(0).first?.byteCount == 16)
    #expect(machine.isDirty(TestMachine.seam - 8) && machine.isDirty(TestMachine.seam))
    #expect(machine.isDirty(driver.usedRing(0)))
    #expect(!machine.isDirty(0x7000))
  }

  /// Each breaks the rings in a way of its own, after which the device asks to be reset.
  @Test(arguments: [
    "loop", "beyond the table", "head beyond the table", "too many", "nested", "odd indirect",
    "empty indirect", "outside", "wraps", "rom", "registers", "reads after writes", "too long",
  ])
  func `a broken ring is reported, not followed`(kind: String) throws {
    let (driver, machine, probe) = try entropy()
    let table = driver.base
    switch kind {
    case "loop":
      driver.describe(table, 0, 0x4000, 1, 3, 1)
      driver.describe(table, 1, 0x4000, 1, 3, 0)
    case "beyond the table": driver.describe(table, 0, 0x4000, 1, 3, 8)
    case "nested":
      driver.describe(table, 0, 0x3000, 16, 4, 0)
      driver.describe(0x3000, 0, 0x3000, 16, 4, 0)
    case "odd indirect": driver.describe(table, 0, 0x3000, 17, 4, 0)
    case "empty indirect": driver.describe(table, 0, 0x3000, 0, 4, 0)
    case "outside": driver.describe(table, 0, 0x40_0000, 16, 2, 0)
    case "wraps": driver.describe(table, 0, .max - 4, 16, 2, 0)
    case "rom": driver.describe(table, 0, TestMachine.rom, 16, 2, 0)
    case "registers": driver.describe(table, 0, TestMachine.registers, 16, 2, 0)
    case "reads after writes":
      driver.describe(table, 0, 0x4000, 1, 3, 1)
      driver.describe(table, 1, 0x4000, 1, 0, 0)
    case "too long":
      driver.describe(table, 0, 0x4000, 0xffff_ffff, 2, 0)
    default: driver.describe(table, 0, 0x4000, 1, 2, 0)
    }
    driver.publish(0, head: kind == "head beyond the table" ? 9 : 0)
    if kind == "too many" { machine.put([200, 0], at: driver.availableRing(0) + 2) }
    driver.notify(0)
    #expect(driver.collect(0).isEmpty)
    #expect(driver.needsReset)
    #expect(driver.read(0x60) & 2 == 2 && probe.level, "and the driver is told")
    #expect(machine.forbidden.accesses.load(ordering: .relaxed) == 0)

    // Nothing more happens until the driver resets it; then it works as ever.
    driver.notify(0)
    #expect(driver.collect(0).isEmpty)
    driver.start(queues: 1)
    driver.add(0, writable: [(0x4000, 4)])
    driver.notify(0)
    #expect(driver.collect(0).count == 1)
  }

  @Test func `a device moves with its queue half way`() throws {
    let (driver, machine, _) = try entropy()
    for _ in 0..<3 {
      driver.add(0, writable: [(0x4000, 4)])
      driver.notify(0)
    }
    #expect(driver.collect(0).count == 3)
    // Made available, and the notification lost on the way.
    driver.add(0, writable: [(0x5000, 6)])
    let probe = LineProbe()
    let target = VirtioEntropy(memory: machine.space, line: probe.line)
    try move(from: driver.device, to: target)
    let there = FakeDriver(target, machine, size: 8)
    there.adopt(driver)
    #expect(there.collect(0).isEmpty)
    target.resume()
    #expect(there.collect(0) == [.init(head: 3, byteCount: 6)])
    #expect(probe.level)
    #expect(there.read(0x70) == 15)
  }
}
