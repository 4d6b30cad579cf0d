// MachineStateTests.swift: a whole machine with a working guest goes on in another one.

import DemoGuest
import Foundation
import GuestMemory
import Synchronization
import Testing
import VMState
import Wire

@testable import VMM

@Suite(.enabled(if: StateGuest.isPossible, "needs /dev/kvm"), .serialized)
struct MachineStateTests {
  private func configuration(serial: String) -> MachineConfiguration {
    var configuration = MachineConfiguration(memoryByteCount: 64 << 20)
    var workload = MachineConfiguration.Workload()
    workload.megabytesPerSecond = 1
    workload.memoryMegabytes = 8
    workload.isFilled = false
    workload.reportMilliseconds = 100
    configuration.boot = .demonstration(workload)
    configuration.serial = .file(path: serial)
    configuration.accelerator = .kvm
    return configuration
  }

  /// Waits until the guest has written so many report lines, and returns what it wrote.
  private func output(
    _ path: String, reports count: Int, _ machine: Machine
  ) throws -> (text: String, reports: [DemoGuestReport]) {
    let end = ContinuousClock.now + .seconds(50)
    while ContinuousClock.now < end {
      let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
      let found = text.split(whereSeparator: \.isNewline).compactMap { DemoGuestReport(line: $0) }
      if found.count >= count { return (text, found) }
      Thread.sleep(forTimeInterval: 0.02)
    }
    throw Silence(state: "\(machine.runState)", trouble: machine.trouble)
  }

  private struct Silence: Error {
    var state: String
    var trouble: String?
  }

  private func copyMemory(of source: Machine, to target: Machine) throws {
    for block in source.ram.blocks {
      let other = try #require(target.ram.blocks.first { $0.name == block.name })
      try block.withBytes(offset: 0, byteCount: block.byteCount) {
        (bytes) throws(GuestMemoryError) in
        try other.write(offset: 0, bytes)
      }
    }
  }

  @Test(.timeLimit(.minutes(2)))
  func `the demonstration's guest works on in the machine that takes it over`() throws {
    let folder = FileManager.default.temporaryDirectory.path
    let paths = (1...2).map { "\(folder)/godwit-state-\(UUID().uuidString)-\($0)" }
    defer { for path in paths { try? FileManager.default.removeItem(atPath: path) } }
    let source = try Machine(configuration(serial: paths[0]))
    try source.launch()
    _ = try output(paths[0], reports: 3, source)
    try source.stop()
    let before = try output(paths[0], reports: 3, source)
    let state = try source.vmstateRegistry(runState: "running").save()
    try expectNamed(state)

    var incoming = configuration(serial: paths[1])
    incoming.incoming = .deferred
    let target = try Machine(incoming)
    try target.launch()
    try copyMemory(of: source, to: target)
    source.quit()
    let adopted = Mutex<String?>(nil)
    try target.vmstateRegistry(runState: "") { name in adopted.withLock { $0 = name } }
      .load(state)
    #expect(adopted.withLock { $0 } == "running")
    try target.apply(.incomingDone(runs: true))
    let after = try output(paths[1], reports: 4, target)
    target.quit()
    // A guest that had started anew would say that it is ready, and count from 0.
    #expect(before.text.contains(DemoGuestReport.readyLine))
    #expect(!after.text.contains(DemoGuestReport.readyLine))
    let last = try #require(before.reports.last)
    let first = try #require(after.reports.first)
    #expect(first.t >= last.t && first.t < last.t + 5)
    #expect(first.written >= last.written && first.checked >= last.checked)
    #expect((before.reports + after.reports).allSatisfy { $0.bad == 0 })
    #expect(after.reports.allSatisfy { $0.gapMilliseconds < 2000 })
  }

  /// Every byte of every section has a name.
  private func expectNamed(_ state: DeviceState) throws {
    let sections = try state.sections()
    let names = sections.map(\.header.name)
    #expect(Set(names).isSuperset(of: ["cpu", "i8259", "ioapic", "i8254", "kvmclock", "serial"]))
    #expect(names.last == "globalstate")
    for section in sections {
      let fields = try section.fields()
      #expect(!fields.contains { $0.type == "undescribed" }, "\(section.header.name)")
    }
  }
}
