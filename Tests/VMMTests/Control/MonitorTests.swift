// What each command answers for a machine that is known throughout.

import Devices
import Foundation
import JSON
import QMP
import Testing
import Transport

@testable import VMM

@Suite(.timeLimit(.minutes(2))) struct MonitorTests {
  @Test func `the client that saves and restores finds what it asks for`() async throws {
    let served = try await Served()
    let client = served.client
    #expect(try await client.machineType() == "scripted-1")
    #expect(try await client.machineTypes().map(\.name) == ["scripted-1"])
    #expect(try await client.isKVMEnabled())
    #expect(try await client.targetArchitecture() == "x86_64")
    #expect(try await client.guestName() == "scripted")
    #expect(try await client.processors().map(\.threadIdentifier) == [101, 102])
    #expect(try await client.writableDisks().map(\.name) == ["disk0"])
    #expect(try await client.memoryBackends().map(\.identifier) == ["ram"])
    #expect(try await client.pciBuses() == [])
    #expect(
      try await client.ramBlocks() == [
        RAMBlockInfo(
          name: "ram", pageByteCount: 4096, usedByteCount: 0x1A0000, maximumByteCount: 0x1A0000),
        RAMBlockInfo(
          name: "rom", pageByteCount: 4096, usedByteCount: 0x10000, maximumByteCount: 0x10000),
      ])
    #expect(try await client.runState() == QMP.RunState(isRunning: true, status: "running"))
    #expect(try await client.schema().command("migrate-incoming", takes: "exit-on-error"))
    #expect(
      try await served.run("qom-get", ["path": "/objects/ram", "property": "mem-path"])
        == "/dev/shm/ram")
    #expect(
      try await served.refusal("qom-get", ["path": "/objects/rom", "property": "mem-path"])
        == "Property 'rom.mem-path' not found")
  }

  @Test func `settings are changed for a move and put back`() async throws {
    let served = try await Served()
    let settings = try await MigrationSettings.read(from: served.client)
    try await settings.apply(
      [CapabilityRequirement("postcopy-ram", true, to: "test")],
      [ParameterRequirement("max-bandwidth", 0, to: "test")])
    #expect(served.machine.mover.state.withLock { $0.options?.bytesPerSecond } == nil)
    try await settings.putBack()
    let options = served.machine.mover.state.withLock { $0.options }
    #expect(options?.bytesPerSecond == 134_217_728)
    await #expect(
      throws: QMPError.settingRefused(
        setting: "xbzrle", purpose: "test",
        description: "This machine has no capability 'xbzrle': it sends whole pages")
    ) { try await settings.apply([CapabilityRequirement("xbzrle", true, to: "test")]) }
  }

  @Test func `every command without needs answers in its shape`() async throws {
    let served = try await Served()
    for command in MachineMonitor.table.commands where command.name.hasPrefix("query-") {
      try await served.run(command.name)
    }
    #expect(try await served.run("query-name") == ["name": "scripted"])
    #expect(
      try await served.run("query-memory-size-summary")
        == ["base-memory": 0x1A0000, "plugged-memory": 0])
  }

  @Test func `running, stopping and ending are told to everyone`() async throws {
    let served = try await Served()
    let other = try await QMPClient.connect(to: served.folder + "/qmp")
    let streams = [served.client.events(), other.events()]
    try await served.run("stop")
    #expect(try await served.run("query-status") == ["running": false, "status": "paused"])
    try await served.run("cont")
    try await served.run("system_reset")
    try await served.run("system_powerdown")
    try await served.run("quit")
    #expect(served.machine.state.withLock { $0.end } == .hostQuit)
    served.server.stop()
    for stream in streams {
      var events: [JSONValue] = []
      for await event in stream { events.append(.object([JSONMember(event.name, event.data)])) }
      #expect(
        events == [
          ["STOP": [:]], ["RESUME": [:]],
          ["RESET": ["guest": false, "reason": "host-qmp-system-reset"]], ["POWERDOWN": [:]],
          ["SHUTDOWN": ["guest": false, "reason": "host-qmp-quit"]],
        ])
    }
  }

  @Test func `a machine that only a reset helps does not go on`() async throws {
    let served = try await Served()
    served.machine.change(to: .internalError)
    #expect(
      try await served.refusal("cont") == "Resetting the Virtual Machine is required")
  }

  @Test func `a guest is asked for its statistics, and what it said is told`() async throws {
    let served = try await Served()
    let balloon: JSONValue = "/machine/peripheral/balloon0"
    let statistics: JSONValue = ["path": balloon, "property": "guest-stats"]
    let interval: JSONValue = ["path": balloon, "property": "guest-stats-polling-interval"]
    // Nothing was ever asked: the numbers are QEMU's for unknown ones.
    let unknown = try await served.run("qom-get", statistics)
    #expect(unknown["last-update"] == 0)
    #expect(unknown["stats"]?["stat-free-memory"]?.uint64 == .max)
    #expect(try await served.run("qom-get", interval) == 0)
    try await served.run(
      "qom-set",
      ["path": balloon, "property": "guest-stats-polling-interval", "value": 3])
    #expect(served.machine.state.withLock { $0.pollInterval } == .seconds(3))
    #expect(try await served.run("qom-get", interval) == 3)
    var report = BalloonStatistics()
    report.values = [.freeMemory: 4096, .totalMemory: 1 << 60]
    served.machine.state.withLock { $0.statistics = report }
    let known = try await served.run("qom-get", statistics)
    #expect(known["stats"]?["stat-free-memory"] == 4096)
    #expect(known["stats"]?["stat-total-memory"]?.uint64 == 1 << 60)
    #expect(known["stats"]?["stat-swap-in"]?.uint64 == .max)
    #expect(try #require(known["last-update"]?.int64) > 1_700_000_000)
    for (property, value) in [("guest-stats-polling-interval", -1), ("size", 1)] {
      await #expect(throws: QMPError.self) {
        try await served.client.execute(
          "qom-set",
          ["path": balloon, "property": .string(property), "value": JSONValue(value)])
      }
    }
  }

  @Test func `the balloon is asked for, and missed where there is none`() async throws {
    let served = try await Served()
    #expect(try await served.run("query-balloon") == ["actual": 1_048_576])
    try await served.run("balloon", ["value": 524_288])
    #expect(try await served.run("query-balloon") == ["actual": 524_288])
    // No more than the machine has.
    try await served.run("balloon", ["value": 1_099_511_627_776])
    #expect(try await served.run("query-balloon") == ["actual": 0x1A0000])
    #expect(
      try await served.refusal("balloon", ["value": 0]) == "Parameter 'target' expects a size")
    served.machine.state.withLock { $0.balloon = nil }
    await #expect(
      throws: QMPError.refused(
        command: "query-balloon", class: "DeviceNotActive",
        description: "No balloon device has been activated")
    ) { try await served.client.execute("query-balloon") }
  }
}
