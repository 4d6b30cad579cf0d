// The balloon: pages given back, statistics, hints, reports, moves.

import GuestMemory
import Synchronization
import Testing

@testable import Devices

struct VirtioBalloonTests {
  private final class Setup {
    let balloon: VirtioBalloon
    let driver: FakeDriver
    let machine: TestMachine
    let probe = LineProbe()

    init(features: UInt64? = nil) throws {
      machine = try TestMachine()
      balloon = try VirtioBalloon(
        memory: machine.space, line: probe.line, ramByteCount: UInt64(TestMachine.ramByteCount))
      driver = FakeDriver(balloon, machine)
      balloon.resume()
      driver.start(queues: 5, features: features)
    }

    func configuration(_ index: UInt64) -> UInt32 {
      UInt32(balloon.read(offset: 0x100 + index * 4, byteCount: 4))
    }

    func numbers(_ pages: [UInt32]) -> [UInt8] {
      var bytes: [UInt8] = []
      for page in pages { bytes.appendLittleEndian(page) }
      return bytes
    }
  }

  @Test func `pages in the balloon go back to the host`() throws {
    let setup = try Setup()
    try setup.machine.startLogging()
    let full = [UInt8](repeating: 0x5a, count: 4096)
    for page in [0x60, 0x61, 0x62, 0x90, 0x7f, 0x80] {
      setup.machine.put(full, at: UInt64(page) << 12)
    }
    for block in setup.machine.blocks {
      setup.machine.ram.dirty.clear(block.ramRange, for: .migration)
    }
    // In no order, one twice, and two that are no memory.
    setup.machine.put(setup.numbers([0x61, 0x80, 0x60, 0x60, 0x7f, 0x4000, 0x100]), at: 0x4_0000)
    setup.driver.add(0, readable: [(0x4_0000, 28)])
    setup.driver.notify(0)
    #expect(setup.driver.await(0).count == 1)
    for page in [0x60, 0x61, 0x7f, 0x80] as [UInt64] {
      #expect(setup.machine.bytes(page << 12, 4096) == [UInt8](repeating: 0, count: 4096))
      #expect(setup.machine.isDirty(page << 12), "its content changed")
    }
    #expect(setup.machine.bytes(0x62 << 12, 4096) == full)
    #expect(setup.machine.bytes(0x90 << 12, 4096) == full)
    setup.driver.add(1, readable: [(0x4_0000, 28)])
    setup.driver.notify(1)
    #expect(setup.driver.await(1).count == 1)
    setup.balloon.quiesce()
  }

  @Test func `nothing is given back while that is not allowed`() throws {
    let setup = try Setup()
    setup.balloon.allowDiscarding(false)
    setup.machine.put([0x5a], at: 0x6_0000)
    setup.machine.put(setup.numbers([0x60]), at: 0x4_0000)
    setup.driver.add(0, readable: [(0x4_0000, 4)])
    setup.driver.notify(0)
    #expect(setup.driver.await(0).count == 1)
    #expect(setup.machine.bytes(0x6_0000, 1) == [0x5a])
    setup.balloon.quiesce()
  }

  @Test func `a target is told to the driver, and its answer to the listener`() throws {
    let setup = try Setup()
    let told = Mutex<[UInt64]>([])
    setup.balloon.onChange { bytes in told.withLock { $0.append(bytes) } }
    setup.balloon.setTarget(byteCount: UInt64(TestMachine.ramByteCount) - 5 * 4096)
    #expect(setup.configuration(0) == 5)
    #expect(setup.driver.read(0x60) & 2 == 2 && setup.probe.level)
    setup.driver.write(0x104, 3)
    setup.driver.write(0x104, 3)
    #expect(setup.balloon.actualByteCount == UInt64(TestMachine.ramByteCount) - 3 * 4096)
    #expect(told.withLock { $0 } == [setup.balloon.actualByteCount])
    setup.driver.write(0x104, .max)
    #expect(setup.balloon.actualByteCount == 0, "whatever the guest claims")
    setup.balloon.setTarget(byteCount: .max)
    #expect(setup.configuration(0) == 0)
    setup.balloon.quiesce()
  }

  private func report(_ values: [(UInt16, UInt64)]) -> [UInt8] {
    var bytes: [UInt8] = []
    for (tag, value) in values {
      bytes.appendLittleEndian(tag)
      bytes.appendLittleEndian(value)
    }
    return bytes
  }

  @Test func `statistics are read as they come and asked for at their interval`() throws {
    let setup = try Setup()
    #expect(setup.balloon.statistics == nil)
    setup.machine.put(report([(4, 1000), (5, 2000), (99, 7), (6, 1500)]), at: 0x4_0000)
    setup.driver.add(2, readable: [(0x4_0000, 40)])
    setup.driver.notify(2)
    eventually("the first report") { setup.balloon.statistics != nil }
    #expect(
      setup.balloon.statistics?.0.values
        == [.freeMemory: 1000, .totalMemory: 2000, .availableMemory: 1500])
    #expect(setup.driver.collect(2).isEmpty, "the report is kept until another is wanted")
    setup.balloon.pollStatistics(every: .milliseconds(20))
    #expect(setup.driver.await(2).count == 1)
    setup.machine.put(report([(4, 900)]), at: 0x4_0000)
    setup.driver.add(2, readable: [(0x4_0000, 10)])
    setup.driver.notify(2)
    eventually("the second report") {
      setup.balloon.statistics?.0.values == [.freeMemory: 900]
    }
    #expect(setup.driver.await(2).count == 1)
    setup.balloon.pollStatistics(every: nil)
    setup.balloon.quiesce()
  }

  @Test func `free pages are hinted at for the command of the round alone`() throws {
    let setup = try Setup()
    let told = Mutex<[RAMRange]>([])
    #expect(setup.configuration(2) == VirtioBalloon.hintsDone)
    let ends = Mutex(0)
    #expect(
      setup.balloon.startHinting(ended: { ends.withLock { $0 += 1 } }) { ranges in
        told.withLock { $0 += ranges }
      })
    let command = setup.configuration(2)
    #expect(command >= VirtioBalloon.firstHintCommand)

    func say(_ command: UInt32) {
      setup.machine.put(setup.numbers([command]), at: 0x4_0000)
      setup.driver.add(3, readable: [(0x4_0000, 4)])
      setup.driver.notify(3)
      #expect(setup.driver.await(3).count == 1)
    }
    func hint(_ address: UInt64, _ count: Int) {
      setup.driver.add(3, writable: [(address, count)])
      setup.driver.notify(3)
      #expect(setup.driver.await(3).count == 1)
    }
    hint(0x6_0000, 0x1000)
    say(command &- 1)
    hint(0x6_0000, 0x1000)
    #expect(told.withLock { $0.isEmpty }, "of no round, or an earlier one")
    say(command)
    setup.machine.put([0x77], at: 0x7_e000)
    hint(0x7_e800, 0x3000)
    let first = setup.machine.blocks[0].ramRange
    let second = setup.machine.blocks[1].ramRange
    #expect(
      told.withLock { $0 } == [
        RAMRange(pages: first.pages.upperBound - 1..<first.pages.upperBound),
        RAMRange(pages: second.pages.lowerBound..<second.pages.lowerBound + 1),
      ], "whole pages only")
    #expect(ends.withLock { $0 } == 0)
    #expect(setup.machine.bytes(0x7_e000, 1) == [0x77], "a hint changes nothing")
    say(0)
    say(0)
    #expect(ends.withLock { $0 } == 1)
    hint(0x6_0000, 0x1000)
    #expect(told.withLock { $0.count } == 2)
    setup.balloon.stopHinting()
    #expect(setup.configuration(2) == VirtioBalloon.hintsStopped)
    #expect(setup.balloon.startHinting { _ in })
    #expect(setup.configuration(2) == command + 1)
    setup.balloon.finishHinting()
    #expect(setup.configuration(2) == VirtioBalloon.hintsDone)
    setup.balloon.quiesce()
  }

  @Test func `reported pages go back to the host, poisoned ones stay`() throws {
    let setup = try Setup()
    func report() {
      setup.machine.put([UInt8](repeating: 1, count: 0x3000), at: 0x6_0000)
      setup.driver.add(4, writable: [(0x6_0000, 0x1000), (0x6_2000, 0x1000)])
      setup.driver.notify(4)
      #expect(setup.driver.await(4).count == 1)
    }
    report()
    #expect(setup.machine.bytes(0x6_0000, 1) == [0] && setup.machine.bytes(0x6_2000, 1) == [0])
    #expect(setup.machine.bytes(0x6_1000, 1) == [1])
    setup.driver.write(0x10c, 0xaaaa_aaaa)
    report()
    #expect(setup.machine.bytes(0x6_0000, 1) == [1])
    #expect(!setup.balloon.startHinting { _ in }, "nor are they hinted at")
    setup.balloon.quiesce()
  }

  @Test func `a driver without hints is not asked for them`() throws {
    let setup = try Setup(features: VirtioFeature.version1)
    #expect(!setup.balloon.startHinting { _ in })
    setup.balloon.quiesce()
  }

  @Test func `a balloon moves with its pages, and lets hinted ones go`() throws {
    let setup = try Setup()
    setup.balloon.setTarget(byteCount: UInt64(TestMachine.ramByteCount) - 7 * 4096)
    setup.driver.write(0x104, 7)
    #expect(setup.balloon.startHinting { _ in })
    setup.machine.put(report([(4, 1000)]), at: 0x4_0000)
    setup.driver.add(2, readable: [(0x4_0000, 10)])
    setup.driver.notify(2)
    eventually("the report") { setup.balloon.statistics != nil }
    setup.balloon.quiesce()
    let target = try VirtioBalloon(
      memory: setup.machine.space, line: LineProbe().line,
      ramByteCount: UInt64(TestMachine.ramByteCount))
    try move(from: setup.balloon, to: target)
    let there = FakeDriver(target, setup.machine)
    there.adopt(setup.driver)
    // Whether it was still naming pages or had been told to stop.
    setup.balloon.stopHinting()
    #expect(setup.configuration(2) == VirtioBalloon.hintsStopped)
    setup.balloon.resume()
    #expect(setup.configuration(2) == VirtioBalloon.hintsDone)
    setup.balloon.quiesce()
    target.resume()
    #expect(target.actualByteCount == setup.balloon.actualByteCount)
    #expect(there.read(0x108) == VirtioBalloon.hintsDone)
    eventually("the report there") { target.statistics != nil }
    target.pollStatistics(every: .milliseconds(10))
    #expect(there.await(2).count == 1)
    target.quiesce()
  }
}
