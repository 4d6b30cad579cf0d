// Putting settings back when QEMU does not play along.

import JSON
import QMP
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(1))) struct MigrationSettingsTests {
  /// A monitor with three capabilities and two parameters, that refuses what `refuses` says.
  static func monitor(
    refuses: @escaping @Sendable (QMPCommand) -> String?, log: Log
  ) throws -> FakeMonitor {
    try FakeMonitor { monitor in
      try monitor.greet()
      while true {
        let command = try monitor.next()
        if command.name.hasPrefix("migrate-set") { log.note(command.arguments.description) }
        if let reason = refuses(command) {
          try monitor.say(.failed(id: command.id, class: "GenericError", description: reason))
          continue
        }
        let answer: JSONValue =
          switch command.name {
          case "query-migrate-capabilities":
            [
              ["capability": "a", "state": false], ["capability": "b", "state": true],
              ["capability": "c", "state": false],
            ]
          case "query-migrate-parameters": ["p": 1, "q": "text"]
          default: [:]
          }
        try monitor.say(.returned(id: command.id, answer))
      }
    }
  }

  final class Log: Sendable {
    private let stored = Mutex<[String]>([])
    var lines: [String] { stored.withLock { $0 } }
    func note(_ line: String) { stored.withLock { $0.append(line) } }
  }

  static let needs = [
    CapabilityRequirement("a", true, to: "go"), CapabilityRequirement("b", false, to: "stay"),
    CapabilityRequirement("c", false, to: "be sure"),
  ]

  @Test func `only what differs is changed, and only that is put back`() async throws {
    let log = Log()
    let monitor = try Self.monitor(refuses: { _ in nil }, log: log)
    let client = try await QMPClient.connect(to: monitor.path)
    let settings = try await MigrationSettings.read(from: client)
    try await settings.apply(
      Self.needs,
      [ParameterRequirement("p", 1, to: "x"), ParameterRequirement("q", "other", to: "y")])
    #expect(await settings.changed == ["a", "b", "q"])
    try await settings.putBack()
    try await settings.putBack()
    #expect(
      log.lines == [
        #"{"capabilities":[{"capability":"a","state":true},{"capability":"b","state":false}]}"#,
        #"{"q":"other"}"#, #"{"q":"text"}"#,
        #"{"capabilities":[{"capability":"a","state":false},{"capability":"b","state":true}]}"#,
      ])
    client.close()
  }

  @Test func `one that is refused is named, and the others are put back`() async throws {
    let log = Log()
    let monitor = try Self.monitor(
      refuses: { $0.arguments.description.contains(#""a","state":true"#) ? "not a" : nil }, log: log
    )
    let client = try await QMPClient.connect(to: monitor.path)
    let settings = try await MigrationSettings.read(from: client)
    await #expect(
      throws: QMPError.settingRefused(setting: "a", purpose: "go", description: "not a")
    ) { try await settings.apply(Self.needs) }
    #expect(await settings.changed == ["b"])
    try await settings.putBack()
    #expect(log.lines.last == #"{"capabilities":[{"capability":"b","state":true}]}"#)
    client.close()
  }

  @Test func `what cannot be put back does not keep the rest from it`() async throws {
    let busy = Busy()
    let monitor = try Self.monitor(refuses: { busy.reason($0) }, log: Log())
    let client = try await QMPClient.connect(to: monitor.path)
    let settings = try await MigrationSettings.read(from: client)
    try await settings.apply(Self.needs, [ParameterRequirement("q", "other", to: "y")])
    busy.set(true)
    await #expect(
      throws: QMPError.notPutBack(
        settings: ["a", "b"],
        description: "QEMU refused 'migrate-set-capabilities': There's a migration in progress.")
    ) { try await settings.putBack() }
    #expect(await settings.changed == ["a", "b"])
    busy.set(false)
    try await settings.putBack()
    #expect(await settings.changed.isEmpty)
    client.close()
  }

  @Test func `a QEMU that has gone is said to be`() async throws {
    let monitor = try Self.monitor(refuses: { _ in nil }, log: Log())
    let client = try await QMPClient.connect(to: monitor.path)
    let settings = try await MigrationSettings.read(from: client)
    try await settings.apply(Self.needs)
    client.close()
    let error = await #expect(throws: QMPError.self) { try await settings.putBack() }
    #expect(
      error
        == .notPutBack(
          settings: ["a", "b"],
          description: "'migrate-set-capabilities' was not carried out: the connection to QEMU was "
            + "closed here."))
  }

  /// Refuses capabilities while it is set.
  final class Busy: Sendable {
    private let isSet = Atomic(false)
    func set(_ value: Bool) { isSet.store(value, ordering: .releasing) }
    func reason(_ command: QMPCommand) -> String? {
      guard command.name == "migrate-set-capabilities", isSet.load(ordering: .acquiring) else {
        return nil
      }
      return "There's a migration in progress"
    }
  }
}
