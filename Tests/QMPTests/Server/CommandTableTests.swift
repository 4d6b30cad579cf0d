// What the table's data does: arguments are checked, states too, and the schema tells of it all.

import JSON
import Testing

@testable import QMP

@Suite struct CommandTableTests {
  static func refusal(
    _ command: String, _ arguments: JSONValue = [:], in state: QMPRunState = .running
  ) -> String? {
    let host = TestHost()
    host.state.withLock { $0 = state }
    let call = QMPCall(
      command: command, arguments: arguments, descriptors: QMPDescriptorNames())
    do throws(QMPRefusal) {
      _ = try TestHost.table.answer(call, for: host)
      return nil
    } catch {
      return error.description
    }
  }

  @Test(
    arguments: [
      ([:], "Parameter 'value' is missing"),
      (["value": 1, "more": 1], "Parameter 'more' is unexpected"),
      (["value": 1, "count": "x"], "Invalid parameter type for 'count', expected: integer"),
      (["value": 1, "count": 1.5], "Invalid parameter type for 'count', expected: integer"),
      (["value": 1, "count": 300], "Parameter 'count' expects uint8_t"),
      (["value": 1, "count": -1], "Parameter 'count' expects uint8_t"),
      (["value": 1, "kind": "c"], "Parameter 'kind' does not accept value 'c'"),
      (["value": 1, "kind": 1], "Invalid parameter type for 'kind', expected: string"),
      (["value": 1, "pairs": [:]], "Invalid parameter type for 'pairs', expected: array"),
      (["value": 1, "pairs": [5]], "Invalid parameter type for 'pairs[0]', expected: object"),
      (["value": 1, "pairs": [["name": "x"]]], "Parameter 'pairs[0].state' is missing"),
      (
        ["value": 1, "pairs": [["name": "x", "state": true], ["name": 1, "state": true]]],
        "Invalid parameter type for 'pairs[1].name', expected: string"
      ),
      (
        ["value": 1, "pairs": [["name": "x", "state": true, "y": 1]]],
        "Parameter 'pairs[0].y' is unexpected"
      ),
      (["value": 1, "text": 5], "Invalid parameter type for 'text', expected: StrOrNull"),
    ] as [(JSONValue, String)])
  func `an argument that does not fit is refused in QEMU's words`(
    arguments: JSONValue, text: String
  ) {
    #expect(Self.refusal("echo", arguments) == text)
  }

  @Test func `arguments that fit are taken`() {
    let arguments: JSONValue = [
      "value": ["x": 1], "count": 255, "kind": "b", "text": .null,
      "pairs": [["name": "x", "state": true]],
    ]
    #expect(Self.refusal("echo", arguments) == nil)
  }

  @Test func `run states are checked`() {
    #expect(Self.refusal("when-running") == nil)
    #expect(Self.refusal("when-running", in: .paused) == "It stands still")
    #expect(Self.refusal("when-running", in: .inmigrate) == "It is not here yet")
    #expect(Self.refusal("when-waiting", in: .inmigrate) == nil)
    #expect(Self.refusal("when-waiting", in: .running) == "It does not wait")
  }

  @Test func `the schema says what the table has, to the client's own reader`() throws {
    let call = QMPCall(command: "query-qmp-schema", descriptors: QMPDescriptorNames())
    let value = try TestHost.table.answer(call, for: TestHost())
    let schema = QMPSchema(value)
    for command in TestHost.table.commands {
      #expect(schema.has(command.name))
      for argument in command.arguments {
        #expect(schema.command(command.name, takes: argument.name))
      }
    }
    #expect(!schema.command("echo", takes: "nonsense") && !schema.has("nonsense"))
    try TestHost.table["query-qmp-schema"]?.returns.check(value, at: "schema")
    let names = Set((value.array ?? []).compactMap { $0["name"]?.string })
    #expect(names.count == value.array?.count, "every entry has a name of its own")
    for entry in value.array ?? [] {
      for reference in Self.references(of: entry) { #expect(names.contains(reference)) }
    }
  }

  private static func references(of entry: JSONValue) -> [String] {
    let direct = ["arg-type", "ret-type", "element-type"].compactMap { entry[$0]?.string }
    let members = (entry["members"]?.array ?? []) + (entry["variants"]?.array ?? [])
    return direct + members.compactMap { $0["type"]?.string }
  }

  @Test func `commands are listed, the negotiation included`() throws {
    let call = QMPCall(command: "query-commands", descriptors: QMPDescriptorNames())
    let value = try TestHost.table.answer(call, for: TestHost())
    let names = (value.array ?? []).compactMap { $0["name"]?.string }
    #expect(Set(names) == Set(TestHost.table.commands.map(\.name) + ["qmp_capabilities"]))
  }

  @Test func `events that come too often are held back, the last one wins`() {
    var throttle = QMPEventThrottle()
    let start = ContinuousClock.now
    let second = Duration.seconds(1)
    func passes(_ event: String, _ data: JSONValue, _ milliseconds: Int) -> Bool {
      throttle.pass(event, data, every: second, at: start + .milliseconds(milliseconds))
    }
    func due(_ milliseconds: Int) -> (event: String, data: JSONValue)? {
      throttle.takeDue(at: start + .milliseconds(milliseconds)) { _ in second }
    }
    #expect(passes("A", 1, 0))
    #expect(throttle.nextDue == nil)
    #expect(!passes("A", 2, 10))
    #expect(!passes("A", 3, 20))
    #expect(passes("B", 1, 20))
    #expect(throttle.nextDue == start + second)
    #expect(due(900) == nil)
    let last = due(1000)
    #expect(last?.event == "A" && last?.data == 3)
    #expect(throttle.nextDue == nil)
    #expect(!passes("A", 4, 1500))
    #expect(passes("B", 2, 1500))
  }
}
