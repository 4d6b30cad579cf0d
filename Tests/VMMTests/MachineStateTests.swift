// MachineStateTests.swift: a whole machine with a working guest goes on in another one.

import DemoGuest
import Foundation
import GuestMemory
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
    let state = try MachineState(of: source.parts, source.accelerator).save(as: .running)
    try expectNamed(state)

    var incoming = configuration(serial: paths[1])
    incoming.incoming = .deferred
    let target = try Machine(incoming)
    try target.launch()
    try copyMemory(of: source, to: target)
    source.quit()
    let loading = MachineState(of: target.parts, target.accelerator)
    #expect(try loading.prepare(state).apply() == .running)
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

  /// A folder with `vmlinuz` and `initrd.gz`, whose guest prints `tick NUMBER UPTIME` each second.
  private static let linuxGuest = ProcessInfo.processInfo.environment["GODWIT_LINUX_GUEST"]

  @Test(
    .timeLimit(.minutes(5)),
    .enabled(if: linuxGuest != nil, "needs GODWIT_LINUX_GUEST, and a KVM that runs Linux"))
  func `Linux ticks on in the machine that takes it over`() throws {
    let guest = try #require(Self.linuxGuest)
    let folder = FileManager.default.temporaryDirectory.path
    let paths = (1...2).map { "\(folder)/godwit-linux-\(UUID().uuidString)-\($0)" }
    defer { for path in paths { try? FileManager.default.removeItem(atPath: path) } }
    func machine(_ serial: String, isIncoming: Bool) throws -> Machine {
      var configuration = MachineConfiguration(memoryByteCount: 256 << 20)
      configuration.processorCount = 2
      configuration.boot = .kernel(
        path: guest + "/vmlinuz", initrd: guest + "/initrd.gz",
        commandLine: "quiet console=ttyS0 panic=-1 mitigations=off nokaslr no_timer_check "
          + "cryptomgr.notests rcupdate.rcu_expedited=1 random.trust_cpu=on")
      configuration.serial = .file(path: serial)
      configuration.incoming = isIncoming ? .deferred : nil
      return try Machine(configuration)
    }
    let source = try machine(paths[0], isIncoming: false)
    try source.launch()
    _ = try ticks(paths[0], 3, source)
    try source.stop()
    let before = try ticks(paths[0], 3, source)
    let state = try MachineState(of: source.parts, source.accelerator).save(as: .running)
    try expectNamed(state)
    let target = try machine(paths[1], isIncoming: true)
    try target.launch()
    try copyMemory(of: source, to: target)
    source.quit()
    _ = try MachineState(of: target.parts, target.accelerator).prepare(state).apply()
    try target.apply(.incomingDone(runs: true))
    let after = try ticks(paths[1], 4, target)
    target.quit()
    let last = try #require(before.last)
    // The line that was being written when the machine stopped may be in two parts.
    let first = try #require(after.first { $0.number > last.number })
    #expect(first.number <= last.number + 2)
    #expect(first.uptime >= last.uptime && first.uptime < last.uptime + 10)
    let text = try String(contentsOfFile: paths[1], encoding: .utf8)
    for word in ["unstable", "lockup", "BUG", "Oops", "stall", "Call Trace"] {
      #expect(!text.contains(word), "\(text)")
    }
  }

  /// Waits until the guest has ticked so often, and returns the ticks.
  private func ticks(
    _ path: String, _ count: Int, _ machine: Machine
  ) throws -> [(number: Int, uptime: Double)] {
    let end = ContinuousClock.now + .seconds(120)
    var text = ""
    while ContinuousClock.now < end {
      text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
      // The last line may not be whole yet.
      let whole = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      let found = whole.dropLast().compactMap { line -> (number: Int, uptime: Double)? in
        let words = line.split(separator: " ")
        guard words.count == 3, words[0] == "tick", let number = Int(words[1]),
          let uptime = Double(words[2])
        else { return nil }
        return (number, uptime)
      }
      if found.count >= count { return found }
      Thread.sleep(forTimeInterval: 0.1)
    }
    throw Silence(state: "\(machine.runState)", trouble: machine.trouble ?? text)
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
