// Migrations between real QEMUs through descriptors that Godwit passes, and what it puts back.

import JSON
import QEMULab
import QMP
import Testing
import Transport

@Suite(
  .enabled(if: !QEMU.all(.x86_64).isEmpty, "no qemu-system-x86_64 on PATH or in GODWIT_QEMU"),
  .timeLimit(.minutes(3)), .serialized)
struct HostMigrationTests {
  /// Both ends of a move, connected by nothing yet.
  final class Pair {
    let sourceGuest: LabGuest
    let destinationGuest: LabGuest
    let source: QMPClient
    let destination: QMPClient

    init(_ direction: Direction) async throws {
      // The machine type of the older one, which both know.
      let machine = "pc-i440fx-\(direction.oldest)"
      let configuration = LabConfiguration(direction.source, machine: machine, memoryMegabytes: 64)
      sourceGuest = try LabGuest(configuration)
      destinationGuest = try LabGuest(
        configuration.inside(direction.destination), isIncoming: true)
      source = try await QMPClient.connect(to: sourceGuest.qmpPath)
      destination = try await QMPClient.connect(to: destinationGuest.qmpPath)
    }

    /// Gives each side an end of a fresh socket pair under this name.
    func connect(named name: String) async throws {
      var pair = try SocketPair()
      let near = pair.take()
      try await source.passDescriptor(near.raw, named: name)
      withExtendedLifetime(consume near) {}
      let far = pair.take()
      try await destination.passDescriptor(far.raw, named: name)
      withExtendedLifetime(consume far) {}
    }
  }

  /// Asks until the migration is as expected; the last answer otherwise.
  static func wait(
    _ client: QMPClient, _ isExpected: (MigrationStatus) -> Bool
  ) async throws -> MigrationInfo {
    while true {
      let info = try await client.migration()
      if isExpected(info.status) || info.status == .failed { return info }
      try await Task.sleep(for: .milliseconds(10))
    }
  }

  @Test(arguments: Direction.all())
  func `a machine moves by postcopy through passed descriptors, and recovers through new ones`(
    direction: Direction
  ) async throws {
    let pair = try await Pair(direction)
    let (source, destination) = (pair.source, pair.destination)
    let postcopy = CapabilityRequirement("postcopy-ram", true, to: "start the machine at once")
    let near = try await MigrationSettings.read(from: source)
    try await near.apply(
      [postcopy],
      [
        ParameterRequirement("max-bandwidth", 2_000_000, to: "be slow"),
        ParameterRequirement("max-postcopy-bandwidth", 500_000, to: "be slow"),
      ])
    let far = try await MigrationSettings.read(from: destination)
    try await far.apply([postcopy])
    try await Task.sleep(for: .seconds(1))  // until the guest has filled its memory

    try await pair.connect(named: "move")
    try await destination.migrateIncoming(from: "fd:move", exitsOnError: false)
    try await source.migrate(to: "fd:move")
    try await source.migrateStartPostcopy()
    #expect(try await Self.wait(source) { $0 == .postcopyActive }.status == .postcopyActive)
    #expect(try await Self.wait(destination) { $0 == .postcopyActive }.status == .postcopyActive)
    // The source says so before it has handed the machine over: broken just then, 7.2 loses it.
    try await Task.sleep(for: .milliseconds(500))
    try await source.migratePause()
    #expect(try await Self.wait(source) { $0 == .postcopyPaused }.status == .postcopyPaused)
    #expect(try await Self.wait(destination) { $0 == .postcopyPaused }.status == .postcopyPaused)
    await #expect(throws: QMPError.self) {
      try await source.setMigrationCapabilities(["postcopy-ram": false])
    }

    try await pair.connect(named: "again")
    try await destination.migrateRecover(from: "fd:again")
    try await source.setMigrationParameters([JSONMember("max-postcopy-bandwidth", 0)])
    try await source.migrate(to: "fd:again", resumes: true)
    let end = try await Self.wait(source, \.isTerminal)
    #expect(end.status == .completed && end.errorDescription == nil)
    #expect(try await Self.wait(destination, \.isTerminal).status == .completed)
    #expect(try await source.runState().status == "postmigrate")
    #expect(try await destination.runState().isRunning)

    try await near.putBack()
    try await far.putBack()
    #expect(try await source.migrationCapabilities() == near.capabilities)
    #expect(try await source.migrationParameters() == near.parameters)
    #expect(try await destination.migrationCapabilities() == far.capabilities)
    #expect(await near.changed.isEmpty)
  }

  @Test(arguments: QEMU.all(.x86_64))
  func `what QEMU refuses is told with the purpose, and the rest is put back`(
    qemu: QEMU
  ) async throws {
    let guest = try LabGuest(
      LabConfiguration(qemu, machine: "pc", memoryMegabytes: 32), isPaused: true)
    let client = try await QMPClient.connect(to: guest.qmpPath)
    try await client.setMigrationCapabilities(["xbzrle": true, "events": true])
    let settings = try await MigrationSettings.read(from: client)
    await #expect(
      throws: QMPError.settingRefused(
        setting: "postcopy-preempt", purpose: "answer requests at once",
        description: "Postcopy preempt requires postcopy-ram")
    ) {
      try await settings.apply([
        CapabilityRequirement("xbzrle", false, to: "send whole pages"),
        CapabilityRequirement("events", true, to: "watch"),
        CapabilityRequirement("return-path", true, to: "hear back"),
        CapabilityRequirement("postcopy-preempt", true, to: "answer requests at once"),
      ])
    }
    #expect(await settings.changed == ["xbzrle", "return-path"])
    await #expect(
      throws: QMPError.unsupported(
        setting: "time-travel", version: "\(client.version)", purpose: "undo")
    ) {
      try await settings.apply([
        CapabilityRequirement("no-such-thing", false, to: "be sure"),
        CapabilityRequirement("time-travel", true, to: "undo"),
      ])
    }
    let error = await #expect(throws: QMPError.self) {
      try await settings.apply([], [ParameterRequirement("multifd-channels", 0, to: "count")])
    }
    #expect(
      error?.description.hasPrefix(
        "QEMU refused 'multifd-channels', which Godwit needs to count: ") == true)
    try await settings.putBack()
    #expect(try await client.migrationCapabilities() == settings.capabilities)
    #expect(try await client.migrationParameters() == settings.parameters)
    try await settings.putBack()
  }

  @Test(arguments: QEMU.all(.x86_64))
  func `capabilities that need each other are changed together`(qemu: QEMU) async throws {
    let guest = try LabGuest(
      LabConfiguration(qemu, machine: "pc", memoryMegabytes: 32), isPaused: true)
    let client = try await QMPClient.connect(to: guest.qmpPath)
    try await client.setMigrationCapabilities(["postcopy-ram": true, "postcopy-preempt": true])
    let settings = try await MigrationSettings.read(from: client)
    try await settings.apply([
      CapabilityRequirement("postcopy-ram", false, to: "copy first"),
      CapabilityRequirement("postcopy-preempt", false, to: "use one connection"),
    ])
    #expect(try await client.migrationCapabilities()["postcopy-ram"] == false)
    try await settings.putBack()
    #expect(try await client.migrationCapabilities() == settings.capabilities)
  }

  @Test(arguments: QEMU.all(.x86_64))
  func `settings are put back after a cancelled and after a failed migration`(
    qemu: QEMU
  ) async throws {
    let guest = try LabGuest(
      LabConfiguration(qemu, machine: "pc", memoryMegabytes: 64), isPaused: true)
    let client = try await QMPClient.connect(to: guest.qmpPath)
    #expect(try await client.migration().status == .none)
    let settings = try await MigrationSettings.read(from: client)
    try await settings.apply(
      [CapabilityRequirement("return-path", true, to: "hear back")],
      [ParameterRequirement("max-bandwidth", 1000, to: "be slow")])
    var pair = try SocketPair()
    let near = pair.take()
    try await client.passDescriptor(near.raw, named: "slow")
    let reader = try ByteChannel(adopting: pair.take(), peer: "QEMU")
    try await client.migrate(to: "fd:slow")
    #expect(try await Self.wait(client) { $0 == .active }.status == .active)
    let busy = await #expect(throws: QMPError.self) { try await settings.putBack() }
    #expect(
      busy?.description.hasPrefix(
        "These migration settings of QEMU could not be put back as they were: return-path. "
      ) == true)
    #expect(await settings.changed == ["return-path"])
    try await client.migrateCancel()
    #expect(try await Self.wait(client, \.isTerminal).status == .cancelled)
    try await settings.putBack()
    #expect(try await client.migrationCapabilities() == settings.capabilities)

    reader.shutdownBoth()
    try await settings.apply([CapabilityRequirement("return-path", true, to: "hear back")])
    await #expect(throws: QMPError.self) { try await client.migrate(to: "fd:slow") }
    try await client.migrate(to: "exec:exit 1")
    #expect(try await Self.wait(client, \.isTerminal).status == .failed)
    try await settings.putBack()
    #expect(try await client.migrationCapabilities() == settings.capabilities)
    #expect(try await client.migrationParameters() == settings.parameters)
  }

  @Test(arguments: QEMU.all(.x86_64))
  func `guest memory is written to a file`(qemu: QEMU) async throws {
    let guest = try LabGuest(
      LabConfiguration(qemu, machine: "pc", memoryMegabytes: 32), isPaused: true)
    let client = try await QMPClient.connect(to: guest.qmpPath)
    let path = guest.directory + "/memory"
    try await client.savePhysicalMemory(from: 0x10_0000, byteCount: 8192, to: path)
    let file = try ByteChannel.connect(to: .file(path: path, offset: 0), for: .reading)
    var count = 0
    while case let bytes = try file.read(atMost: 4096), !bytes.isEmpty { count += bytes.count }
    #expect(count == 8192)
  }
}
