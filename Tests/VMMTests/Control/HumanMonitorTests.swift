// Lines for people.

import QMP
import Testing

@testable import VMM

@Suite(.timeLimit(.minutes(2))) struct HumanMonitorTests {
  @Test func `every subject of info prints something, and help lists it`() async throws {
    let served = try await Served()
    let help = try await served.human("help")
    #expect(help.count == HumanMonitor.subjects.count)
    #expect(HumanMonitor.subjects.map(\.name) == HumanMonitor.subjects.map(\.name).sorted())
    for subject in HumanMonitor.subjects {
      #expect(help.contains { $0.hasPrefix("info \(subject.name)") })
      let lines = try await served.human("info \(subject.name)")
      // Nothing was migrated yet.
      #expect(lines.isEmpty == (subject.name == "migrate"))
      for flag in subject.flags {
        #expect(try await !served.human("info \(subject.name) \(flag)").isEmpty)
      }
    }
  }

  @Test func `lines are as QEMU prints them`() async throws {
    let served = try await Served()
    #expect(try await served.client.humanMonitor("info status") == "VM status: running\r\n")
    try await served.run("stop")
    #expect(try await served.client.humanMonitor("info status") == "VM status: paused\r\n")
    served.machine.change(to: .postMigrate)
    #expect(
      try await served.client.humanMonitor("info status") == "VM status: paused (postmigrate)\r\n")
    #expect(try await served.human("info kvm") == ["kvm support: enabled"])
    #expect(
      try await served.human("info cpus") == [
        "* CPU #0: thread_id=101", "  CPU #1: thread_id=102",
      ])
    #expect(try await served.human("info balloon") == ["balloon: actual=1"])
    #expect(
      try await served.human("info mtree -f").contains(
        "  0000000000100000-000000000017ffff (prio 0, ram): ram @00000000000a0000"))
    #expect(
      try await served.human("info block").first == "disk0 (disk0): /tmp/disk (raw)")
    #expect(try await served.human("info migrate_capabilities").contains("postcopy-ram: off"))
    #expect(
      try await served.human("info migrate_parameters").contains("downtime-limit: 300 ms"))
    #expect(
      try await served.client.humanMonitor("info ramblock").split(whereSeparator: \.isNewline)
        .first
        == "              Block Name    PSize              Offset               Used"
        + "              Total                HVA  RO")
  }

  @Test func `what is not understood is said, not refused`() async throws {
    let served = try await Served()
    #expect(
      try await served.client.humanMonitor("info nonsense")
        == "unknown command: 'info nonsense'\r\n")
    #expect(try await served.client.humanMonitor("nonsense") == "unknown command: 'nonsense'\r\n")
    #expect(try await served.client.humanMonitor("") == "")
    #expect(
      try await served.client.humanMonitor("info status foo")
        == "status: extraneous characters at the end of line\r\n"
        + "Try \"help info status\" for more information\r\n")
    served.machine.state.withLock { $0.balloon = nil }
    #expect(
      try await served.client.humanMonitor("info balloon")
        == "Error: No balloon device has been activated\r\n")
  }

  @Test func `registers are shown for one vCPU or all`() async throws {
    let served = try await Served()
    let one = try await served.human("info registers")
    #expect(one.first == "CPU#0")
    #expect(
      one[1]
        == "RAX=00000000000000aa RBX=00000000000001aa RCX=00000000000002aa RDX=00000000000003aa")
    #expect(one.contains { $0.hasPrefix("RIP=ffffffff81000000 RFL=00000246 [---Z-P-]") })
    #expect(one.contains("CS =0008 0000000100000000 0000ffff 00009300"))
    #expect(try await served.human("info registers -a").count == 2 * one.count)
    let second = try await served.client.execute(
      "human-monitor-command", ["command-line": "info registers", "cpu-index": 1])
    #expect(second.string?.contains("CPU#1") == true)
    #expect(
      try await served.refusal(
        "human-monitor-command", ["command-line": "info registers", "cpu-index": 9])
        == "Parameter 'cpu-index' expects a CPU number")
  }
}
