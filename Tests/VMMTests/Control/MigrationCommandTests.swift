// The commands of migrations: what reaches the machine, and what is refused before.

import JSON
import QMP
import Testing
import Transport

@testable import VMM

@Suite(.timeLimit(.minutes(2))) struct MigrationCommandTests {
  private func calls(_ served: Served) -> [String] {
    served.machine.mover.state.withLock { $0.calls }
  }

  @Test func `a machine goes where either form of address says`() async throws {
    let served = try await Served()
    try await served.run("migrate", ["uri": "tcp:[::1]:44"])
    func send(_ address: JSONValue) async throws {
      try await served.run(
        "migrate", ["channels": [["channel-type": "main", "addr": address]]])
    }
    try await send(["transport": "socket", "type": "inet", "host": "::1", "port": "44"])
    try await send(["transport": "socket", "type": "unix", "path": "/tmp/x"])
    try await send(["transport": "file", "filename": "/tmp/f", "offset": 512])
    try await send(["transport": "exec", "args": ["/bin/sh", "-c", "cat 'x'"]])
    #expect(
      calls(served) == [
        "send tcp:[::1]:44", "send tcp:[::1]:44", "send unix:/tmp/x",
        "send file:/tmp/f,offset=512", #"send exec:'/bin/sh' '-c' 'cat '\''x'\'''"#,
      ])
    #expect(
      try await served.refusal(
        "migrate",
        ["channels": [["channel-type": "main", "addr": ["transport": "socket", "type": "unix"]]]])
        == "Parameter 'channels[0].addr.path' is missing")
  }

  @Test func `a migration is told as QEMU tells it`() async throws {
    let served = try await Served()
    #expect(try await served.run("query-migrate") == [:])
    try await served.run(
      "migrate-set-capabilities", ["capabilities": [["capability": "events", "state": true]]])
    let events = served.client.events()
    try await served.run("migrate", ["uri": "exec:cat"])
    let info = MigrationInfo(try await served.run("query-migrate"))
    #expect(info.status == .completed && info.totalMilliseconds == 12)
    #expect(info.downtimeMilliseconds == 3 && info.ram?.normalByteCount == 4096)
    #expect(info.ram?.megabitsPerSecond == 1.5 && info.ram?.pageByteCount == 4096)
    var told: [JSONValue] = []
    for await event in events {
      told.append(event.data)
      if told.count == 4 { break }
    }
    #expect(
      told == [["pass": 1], ["status": "setup"], ["status": "active"], ["status": "completed"]])
    let human = try await served.human("info migrate")
    #expect(human.contains("Migration status: completed") && human.contains("normal: 1 pages"))
  }

  @Test func `a descriptor that was handed over is where the machine goes`() async throws {
    let served = try await Served()
    var pair = try SocketPair()
    let ours = try ByteChannel(adopting: pair.take(), peer: "the machine")
    do {
      let theirs = pair.take()
      try await served.client.passDescriptor(theirs.raw, named: "godwit")
    }
    try await served.client.migrate(to: "fd:godwit")
    let peer = served.machine.mover.state.withLock { $0.peers.first }
    guard case .descriptor(let descriptor, name: "godwit") = peer else {
      Issue.record("the machine was given \(String(describing: peer))")
      return
    }
    guard let end = descriptor.take() else {
      Issue.record("the descriptor is gone")
      return
    }
    let channel = try ByteChannel(adopting: end, peer: "us")
    try channel.write([1, 2, 3])
    #expect(try ours.read(atMost: 10) == [1, 2, 3])
    #expect(
      try await served.refusal("migrate", ["uri": "fd:godwit"])
        == "File descriptor named 'godwit' has not been found")
    #expect(
      try await served.refusal("closefd", ["fdname": "godwit"])
        == "File descriptor named 'godwit' not found")
    #expect(
      try await served.refusal("getfd", ["fdname": "x"])
        == "No file descriptor supplied via SCM_RIGHTS")
  }

  @Test func `a number is no name of a descriptor, whatever the process has open`() async throws {
    let served = try await Served()
    func refusal(_ command: String, _ uri: String) async throws -> String? {
      try await served.refusal(command, ["uri": .string(uri)])
    }
    for number in [0, 3, 999] {
      let text = "File descriptor named '\(number)' has not been found"
      #expect(try await refusal("migrate", "fd:\(number)") == text)
      served.machine.change(to: .inMigrate)
      #expect(try await refusal("migrate-incoming", "fd:\(number)") == text)
      served.machine.mover.move(to: .postcopyPaused)
      #expect(try await refusal("migrate-recover", "fd:\(number)") == text)
      served.machine.mover.move(to: .none)
      served.machine.change(to: .running)
    }
    #expect(
      try await served.refusal(
        "migrate",
        [
          "channels": [
            [
              "channel-type": "main",
              "addr": ["transport": "socket", "type": "fd", "str": "3"],
            ]
          ]
        ]) == "File descriptor named '3' has not been found")
    #expect(calls(served).isEmpty)
  }

  @Test func `migrations that cannot be are refused in QEMU's words`() async throws {
    let served = try await Served()
    func refusal(_ command: String, _ arguments: JSONValue = .null) async throws -> String? {
      try await served.refusal(command, arguments)
    }
    #expect(
      try await refusal("migrate", ["uri": "nonsense:x"])
        == "unknown migration protocol: nonsense:x")
    #expect(try await refusal("migrate") == "need either 'uri' or 'channels' argument")
    #expect(
      try await refusal("migrate", ["channels": []]) == "need either 'uri' or 'channels' argument")
    #expect(try await refusal("migrate", ["uri": "tcp:x"])?.contains("tcp:x") == true)
    #expect(
      try await refusal("migrate", ["uri": "exec:x", "resume": true])
        == "Cannot resume if there is no paused migration")
    #expect(
      try await refusal("migrate-incoming", ["uri": "exec:x"])
        == "'-incoming' was not specified on the command line")
    #expect(
      try await refusal("migrate-recover", ["uri": "exec:x"])
        == "Migrate recover can only be run when postcopy is paused.")
    #expect(
      try await refusal("migrate-pause")
        == "migrate-pause is currently only supported during postcopy-active or "
        + "postcopy-recover state")
    #expect(
      try await refusal("migrate-continue", ["state": "pre-switchover"])
        == "Migration not in expected state: none")
    #expect(
      try await refusal("migrate-start-postcopy")
        == "Enable postcopy with migrate_set_capability before the start of migration")
    served.machine.mover.move(to: .active)
    let active = "There's a migration process in progress"
    #expect(try await refusal("migrate", ["uri": "exec:x"]) == active)
    #expect(
      try await refusal(
        "migrate-set-capabilities", ["capabilities": [["capability": "events", "state": true]]])
        == active)
    served.machine.mover.move(to: .completed)
    served.machine.change(to: .postMigrate)
    #expect(
      try await refusal("migrate", ["uri": "exec:x"])
        == "Can't migrate the vm that was paused due to previous migration")
    served.machine.change(to: .inMigrate)
    #expect(
      try await refusal("migrate", ["uri": "exec:x"])
        == "Guest is waiting for an incoming migration")
    #expect(calls(served).isEmpty)
  }

  @Test func `a machine that waits takes one, and recovers`() async throws {
    let served = try await Served()
    served.machine.change(to: .inMigrate)
    try await served.run(
      "migrate-incoming", ["uri": "tcp:127.0.0.1:4444", "exit-on-error": false])
    let addresses = try await served.run("query-migrate")["socket-address"]
    #expect(addresses == [["type": "inet", "host": "127.0.0.1", "port": "4444"]])
    #expect(
      try await served.refusal("migrate-incoming", ["uri": "exec:x"])
        == "The incoming migration has already been started")
    served.machine.mover.move(to: .postcopyActive)
    try await served.client.executeOutOfBand("migrate-pause")
    served.machine.mover.move(to: .postcopyPaused)
    try await served.client.executeOutOfBand("migrate-recover", ["uri": "unix:/tmp/r"])
    try await served.run("migrate_cancel")
    #expect(
      calls(served) == [
        "receive tcp:127.0.0.1:4444 and stay", "pause", "recover unix:/tmp/r", "cancel",
      ])
  }

  @Test func `parameters are checked, kept, and told to a migration under way`() async throws {
    let served = try await Served()
    try await served.run(
      "migrate-set-parameters",
      ["downtime-limit": 20, "max-bandwidth": 1_000_000, "tls-creds": .null])
    let parameters = try await served.run("query-migrate-parameters")
    #expect(parameters["downtime-limit"] == 20 && parameters["tls-creds"] == "")
    let options = served.machine.mover.state.withLock { $0.options }
    #expect(options?.downtimeLimit == .milliseconds(20) && options?.bytesPerSecond == 1_000_000)
    func refusal(_ name: String, _ value: JSONValue) async throws -> String? {
      try await served.refusal("migrate-set-parameters", .object([JSONMember(name, value)]))
    }
    #expect(
      try await refusal("downtime-limit", 3_000_000)
        == "Parameter 'downtime-limit' expects an integer in the range of 0 to 2000000")
    #expect(
      try await refusal("multifd-channels", 300)
        == "Parameter 'multifd-channels' expects uint8_t")
    let range =
      "Parameter 'max_cpu_throttle' expects an integer in the range of cpu_throttle_initial to 99"
    #expect(try await refusal("max-cpu-throttle", 5) == range)
    #expect(
      try await served.refusal(
        "migrate-set-parameters", ["max-cpu-throttle": 30, "cpu-throttle-initial": 31]) == range)
    #expect(
      try await refusal("vcpu-dirty-limit", 0)
        == "Parameter 'vcpu_dirty_limit' must be greater than 1 MB/s")
    try await served.run(
      "migrate-set-parameters", ["max-cpu-throttle": 5, "cpu-throttle-initial": 5])
    #expect(try await refusal("cpu-throttle-initial", 6) == range)
    #expect(try await refusal("tls-creds", "x")?.contains("tls-creds") == true)
    #expect(
      try await refusal("tls-creds", 5)
        == "Invalid parameter type for 'tls-creds', expected: StrOrNull")
    #expect(try await refusal("nonsense", 5) == "Parameter 'nonsense' is unexpected")
    // One that is refused takes the rest with it.
    #expect(
      try await served.refusal(
        "migrate-set-parameters", ["downtime-limit": 77, "multifd-channels": 9]) != nil)
    #expect(try await served.run("query-migrate-parameters")["downtime-limit"] == 20)
  }
}
