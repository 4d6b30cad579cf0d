// The stand-in's workload finds what is lost, and goes on where it was.

import DemoGuest
import GuestMemory
import Synchronization
import Testing

@testable import VMM

struct SyntheticWorkloadTests {
  private static func settings() -> MachineConfiguration.Workload {
    var settings = MachineConfiguration.Workload()
    settings.megabytesPerSecond = 1
    settings.checkedMegabytesPerSecond = 4
    settings.memoryMegabytes = 1
    return settings
  }

  private static func memory(_ ram: RAMList) throws -> SyntheticMemory {
    SyntheticMemory(try ram.add(name: "pc.ram", byteCount: 4 << 20), marksWrites: false)
  }

  /// Runs a workload for some seconds of its own clock; its last report.
  private func run(
    _ work: inout SyntheticWorkload, from start: UInt64, seconds: UInt64
  ) -> (end: UInt64, lines: [String]) {
    var now = start
    var text = ""
    while now < start + seconds * 1_000_000_000 {
      if work.turn(at: now, say: { text += $0 }) == .idle { now += 1_000_000 }
    }
    return (now, text.split(separator: "\n").map(String.init))
  }

  @Test func `a workload fills its pages, says so, and reports what it does`() throws {
    let ram = RAMList()
    var work = SyntheticWorkload(Self.settings(), in: try Self.memory(ram))
    let (_, lines) = run(&work, from: 5, seconds: 3)
    #expect(lines.prefix(3).last == DemoGuestReport.readyLine)
    let report = try #require(lines.last.flatMap { DemoGuestReport(line: $0) })
    #expect(report.bad == 0)
    #expect((500...1100).contains(report.written))
    #expect((2000...4100).contains(report.checked))
    #expect(work.state.pageCount == 256)
  }

  @Test func `a page that lost a word, and one that went back in time, are found`() throws {
    let ram = RAMList()
    let memory = try Self.memory(ram)
    var work = SyntheticWorkload(Self.settings(), in: memory)
    let (end, _) = run(&work, from: 5, seconds: 2)
    // The last pages of the memory in use: their middle and their end.
    let table = (1 << 20) / 8 + 512
    let tablePages = ((memory.wordCount - table) / 512 + 512) / 513
    let page = table + (tablePages + 200) * 512
    memory[page + 256] ^= 1
    memory[page + 512 + 511] ^= 1
    let (_, lines) = run(&work, from: end, seconds: 3)
    let report = try #require(lines.last.flatMap { DemoGuestReport(line: $0) })
    #expect(report.bad > 0)
  }

  @Test func `a workload goes on in a copy of its memory`() throws {
    let (first, second) = (RAMList(), RAMList())
    let (from, to) = (try Self.memory(first), try Self.memory(second))
    var work = SyntheticWorkload(Self.settings(), in: from)
    let (end, _) = run(&work, from: 1 << 40, seconds: 2)
    work.store()
    for word in 0..<from.wordCount { to[word] = from[word] }
    var copy = SyntheticWorkload(Self.settings(), in: to)
    #expect(copy.state == work.state)
    // The other host's clock began later.
    let (_, lines) = run(&copy, from: end - (1 << 39), seconds: 4)
    let report = try #require(lines.last.flatMap { DemoGuestReport(line: $0) })
    #expect(report.bad == 0)
    #expect(report.t > 3)
  }

  @Test func `what a workload declares free it leaves alone, or fills anew and checks`() throws {
    let ram = RAMList()
    let memory = try Self.memory(ram)
    var settings = Self.settings()
    settings.freePercent = 50
    var told: [Range<Int>] = []
    var work = SyntheticWorkload(settings, in: memory) { told.append($0) }
    let (end, _) = run(&work, from: 5, seconds: 2)
    #expect(told.map(\.count) == [128 * 4096])
    let page = try #require(told.first?.lowerBound) / 8
    #expect(memory[page] != 0)
    // What the machine does to them is no loss.
    for word in page..<page + 128 * 512 { memory[word] = 0 }
    work.store()

    settings.reusedMegabytesPerSecond = 1
    var again = SyntheticWorkload(settings, in: memory) { told.append($0) }
    #expect(again.state.usedCount == 128)
    let (_, lines) = run(&again, from: end, seconds: 3)
    let report = try #require(lines.last.flatMap { DemoGuestReport(line: $0) })
    #expect(report.bad == 0)
    #expect(told.count >= 3, "half of it is in use again after half a second")
    #expect((128...256).contains(again.state.usedCount))
  }

  @Test func `a damaged state begins anew or is bounded, never trapped upon`() throws {
    let ram = RAMList()
    let memory = try Self.memory(ram)
    var work = SyntheticWorkload(Self.settings(), in: memory)
    _ = run(&work, from: 5, seconds: 1)
    work.store()
    let first = SyntheticState.byteOffset / 8
    for word in 0..<23 {
      let before = memory[first + word]
      for value in [0, 1, UInt64.max, 1 << 62] {
        memory[first + word] = value
        var damaged = SyntheticWorkload(Self.settings(), in: memory)
        _ = damaged.turn(at: 1 << 50, say: { _ in })
      }
      memory[first + word] = before
    }
  }
}
