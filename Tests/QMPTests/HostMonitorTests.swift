// The client against every QEMU found: what it asks is what they answer.

import Foundation
import JSON
import QEMULab
import QMP
import Testing
import Transport

/// Tests with a real QEMU.
@Suite(
  .enabled(if: !QEMU.all(.x86_64).isEmpty, "no qemu-system-x86_64 on PATH or in GODWIT_QEMU"),
  .timeLimit(.minutes(10)), .serialized)
struct HostMonitorTests {
  @Test(arguments: QEMU.all(.x86_64))
  func `a machine is described as it was started`(qemu: QEMU) async throws {
    let guest = try LabGuest(
      LabConfiguration(
        qemu, machine: "pc", memoryMegabytes: 64,
        arguments: ["-name", "a name", "-object", "memory-backend-memfd,id=extra,size=32M"]),
      isPaused: true)
    let client = try await QMPClient.connect(to: guest.qmpPath)
    #expect(client.version.major == qemu.version.major)
    #expect(client.version.minor == qemu.version.minor)
    #expect(try await client.runState() == RunState(isRunning: false, status: "prelaunch"))
    #expect(try await client.isKVMEnabled() == false)
    #expect(try await client.targetArchitecture() == "x86_64")
    #expect(try await client.guestName() == "a name")
    #expect(try await client.machineType().hasPrefix("pc-i440fx-"))
    #expect(try await client.processors().map(\.index) == [0])
    #expect(try await client.writableDisks().isEmpty)
    #expect(try await client.pciBuses()[0]?["bus"] == 0)
    #expect(try await client.currentMachine()["wakeup-suspend-support"] != nil)
    let backends = try await client.memoryBackends()
    #expect(backends.first { $0.identifier == "extra" }?.byteCount == 32 << 20)
    let types = try await client.machineTypes()
    let type = try await client.machineType()
    #expect(types.first { $0.name == type }?.defaultRAMIdentifier == "pc.ram")
    #expect(types.contains { $0.alias == "pc" && $0.isDefault })
    let blocks = try await client.ramBlocks()
    let ram = RAMBlockInfo(
      name: "pc.ram", pageByteCount: 4096, usedByteCount: 64 << 20, maximumByteCount: 64 << 20)
    #expect(blocks.first { $0.name == "pc.ram" } == ram)
    #expect(blocks.contains { $0.usedByteCount < $0.maximumByteCount })
  }

  @Test(arguments: QEMU.all(.x86_64))
  func `disks that the guest can change are told apart`(qemu: QEMU) async throws {
    let image = FileManager.default.temporaryDirectory.path + "/godwit-\(UUID().uuidString)"
    try Data(count: 1 << 20).write(to: URL(fileURLWithPath: image))
    defer { try? FileManager.default.removeItem(atPath: image) }
    let guest = try LabGuest(
      LabConfiguration(
        qemu, machine: "pc", memoryMegabytes: 32,
        arguments: [
          "-drive", "if=none,id=w,format=raw,file=\(image)", "-device", "virtio-blk,drive=w",
          "-drive", "if=ide,media=cdrom,readonly=on,format=raw,file=/dev/null",
          "-blockdev", "driver=null-co,node-name=n", "-device", "virtio-blk,drive=n",
        ]), isPaused: true)
    let client = try await QMPClient.connect(to: guest.qmpPath)
    let writable = try await client.writableDisks()
    #expect(writable.count == 2)
    #expect(writable.first { $0.name == "w" }?.file == image)
    #expect(writable.contains { $0.name.hasPrefix("/machine/") })
  }

  @Test(arguments: QEMU.all(.x86_64))
  func `a machine stops, runs, resets and quits, and says so`(qemu: QEMU) async throws {
    let guest = try LabGuest(LabConfiguration(qemu, machine: "pc", memoryMegabytes: 32))
    let client = try await QMPClient.connect(to: guest.qmpPath)
    let first = client.events()
    let second = client.events()
    try await client.stop()
    #expect(try await client.runState() == RunState(isRunning: false, status: "paused"))
    try await client.resume()
    #expect(try await client.runState() == RunState(isRunning: true, status: "running"))
    try await client.reset()
    try await client.quit()
    // The streams end with the connection.
    var names: [String] = []
    for await event in first { names.append(event.name) }
    #expect(names.prefix(2) == ["STOP", "RESUME"] && names.contains("SHUTDOWN"))
    var arrivals: [ContinuousClock.Instant] = []
    for await event in second {
      #expect(event.timestamp.seconds > 1_600_000_000)
      arrivals.append(event.arrival)
    }
    #expect(arrivals.count == names.count && arrivals == arrivals.sorted())
    #expect(!client.isConnected)
    await #expect(
      throws: QMPError.connectionLost(command: "query-status", address: guest.qmpPath)
    ) { try await client.runState() }
  }

  @Test(arguments: QEMU.all(.x86_64))
  func `QEMU's own words are shown`(qemu: QEMU) async throws {
    let guest = try LabGuest(
      LabConfiguration(qemu, machine: "pc", memoryMegabytes: 32), isPaused: true)
    let client = try await QMPClient.connect(to: guest.qmpPath)
    await #expect(
      throws: QMPError.refused(
        command: "nonsense", class: "CommandNotFound",
        description: "The command nonsense has not been found")
    ) { try await client.execute("nonsense") }
    await #expect(
      throws: QMPError.refused(
        command: "stop", class: "GenericError", description: "Parameter 'x' is unexpected")
    ) { try await client.execute("stop", ["x": 1]) }
    #expect(try await client.supports("migrate"))
    #expect(try await client.supports("nonsense") == false)
    let schema = try await client.schema()
    #expect(schema.has("migrate-recover") && !schema.has("nonsense"))
    #expect(schema.command("migrate", takes: "resume"))
    let isNew = qemu.version >= QEMU.Version(9, 1)
    #expect(schema.command("migrate-incoming", takes: "exit-on-error") == isNew)
  }

  @Test(arguments: QEMU.all(.x86_64))
  func `a monitor that another client holds is recognised`(qemu: QEMU) async throws {
    let guest = try LabGuest(
      LabConfiguration(qemu, machine: "pc", memoryMegabytes: 32), isPaused: true)
    let holder = try await QMPClient.connect(to: guest.qmpPath)
    let error = await #expect(throws: QMPError.self) {
      try await QMPClient.connect(to: guest.qmpPath, timeout: .milliseconds(300))
    }
    #expect(error == .noGreeting(address: guest.qmpPath, after: .milliseconds(300)))
    holder.close()
    _ = try await QMPClient.connect(to: guest.qmpPath)
  }

  @Test(arguments: QEMU.all(.x86_64))
  func `a QEMU that dies during a command is noticed`(qemu: QEMU) async throws {
    let guest = try LabGuest(
      LabConfiguration(qemu, machine: "pc", memoryMegabytes: 32), isPaused: true)
    let client = try await QMPClient.connect(to: guest.qmpPath)
    kill(guest.pid, SIGSTOP)
    let answer = Task { try await client.runState() }
    try await Task.sleep(for: .milliseconds(50))
    await #expect(throws: QMPError.timedOut(command: "stop", after: .milliseconds(50))) {
      try await client.execute("stop", timeout: .milliseconds(50))
    }
    kill(guest.pid, SIGKILL)
    await #expect(
      throws: QMPError.connectionLost(command: "query-status", address: guest.qmpPath)
    ) { try await answer.value }
  }
}
