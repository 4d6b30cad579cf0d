// The session alone: bytes in, actions out, whatever the bytes and however they are split.

import JSON
import QMP
import Testing

enum Script {
  static let greeting = """
    {"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, \
    "package": "Debian"}, "capabilities": ["oob"]}}\r\n
    """
  static let negotiated = "{\"return\": {}, \"id\": 0}\r\n"
  static let stop = """
    {"timestamp": {"seconds": 1700000000, "microseconds": 5}, "event": "STOP"}\r\n
    """

  static func session() throws -> QMPSession {
    var session = QMPSession()
    _ = session.receive(Array((greeting + negotiated).utf8))
    return session
  }
}

@Suite struct QMPSessionTests {
  @Test func `a conversation goes from greeting to answers`() throws {
    var session = QMPSession()
    #expect(session.state == .awaitingGreeting)
    let acknowledgement =
      Array(
        #"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]},"id":0}"#.utf8) + [13, 10]
    #expect(session.receive(Array(Script.greeting.utf8)) == [.send(acknowledgement)])
    #expect(session.state == .negotiating)
    let version = QEMUVersion(major: 7, minor: 2, micro: 22, package: "Debian")
    let greeting = QMPGreeting(version: version, capabilities: ["oob"])
    #expect(session.receive(Array(Script.negotiated.utf8)) == [.ready(greeting)])
    let (first, bytes) = session.command("query-status")
    #expect(bytes == Array("{\"execute\":\"query-status\",\"id\":1}\r\n".utf8))
    let (second, more) = session.command("stop", ["x": 1])
    #expect(more == Array("{\"execute\":\"stop\",\"arguments\":{\"x\":1},\"id\":2}\r\n".utf8))
    #expect(session.outstandingCount == 2)
    let answers = """
      {"id": 2, "error": {"class": "GenericError", "desc": "Parameter 'x' is unexpected"}}
      {"return": {"running": true}, "id": 1}
      """ + Script.stop
    let event = QMPEvent.Message(
      name: "STOP", data: [:], timestamp: .init(seconds: 1_700_000_000, microseconds: 5))
    #expect(
      session.receive(Array(answers.utf8)) == [
        .reply(
          second, .refused(class: "GenericError", description: "Parameter 'x' is unexpected")),
        .reply(first, .returned(["running": true])), .event(event),
      ])
    #expect(session.outstandingCount == 0)
  }

  @Test(arguments: 1...20 as ClosedRange<UInt64>)
  func `however the bytes are split, the actions are the same`(seed: UInt64) throws {
    let tail = """
      {"return": {"text": "a } \\" { \\\\", "list": [[{}], "é€😀"]}, "id": 1}\r
      {
          "return": [
          ],
          "id": 2
      }
      """ + Script.stop
    let bytes = Array((Script.greeting + Script.negotiated).utf8)
    var random = SeededRandom(seed: seed)
    var sessions = [QMPSession(), QMPSession(), QMPSession()]
    var actions: [[QMPSession.Action]] = [[], [], []]
    for part in [bytes, Array(tail.utf8)] {
      actions[0] += sessions[0].receive(part)
      for byte in part { actions[1] += sessions[1].receive([byte]) }
      var rest = part[...]
      while !rest.isEmpty {
        let piece = rest.prefix(Int.random(in: 0...40, using: &random))
        rest = rest.dropFirst(piece.count)
        actions[2] += sessions[2].receive(Array(piece))
      }
      for index in sessions.indices where sessions[index].outstandingCount == 0 {
        _ = sessions[index].command("a")
        _ = sessions[index].command("b")
      }
    }
    #expect(actions[0] == actions[1] && actions[0] == actions[2])
    #expect(actions[0].count == 5)
  }

  @Test(arguments: [
    ("SSH-2.0-OpenSSH\r\n", QMPViolation.strayByte(0x53)), ("\0", .strayByte(0)),
    ("[]", .strayByte(0x5B)), ("{]", .notJSON(bad(1, 0x5D, "a member's name in quotes"))),
    ("{\"a\"}", .notJSON(bad(4, 0x7D, "':' after a name"))), ("{}", .unknownMessage),
    ("{\"QMP\":{}}", .unknownMessage), ("{\"return\":{}}", .greetingOutOfPlace),
    ("{\"event\":\"STOP\"}", .greetingOutOfPlace), ("{\"execute\":\"x\"}", .unknownMessage),
    ("{\"error\":{}}", .greetingOutOfPlace),
  ])
  func `a peer that is no monitor is recognised`(text: String, violation: QMPViolation) {
    var session = QMPSession()
    #expect(session.receive(Array(text.utf8)) == [.breakOff(violation)])
    #expect(session.state == .broken(violation))
    #expect(session.receive(Array(Script.greeting.utf8)).isEmpty)
  }

  @Test(arguments: [
    "{\"return\":{},\"id\":9}", "{\"error\":{\"desc\":\"x\"},\"id\":7}",
    "{\"return\":{},\"id\":1}{\"return\":{},\"id\":1}",
  ])
  func `what QEMU still owed to an earlier client is passed over`(text: String) throws {
    var session = try Script.session()
    let (number, _) = session.command("stop")
    let actions = session.receive(Array(text.utf8))
    #expect(actions.count == (text.contains("\"id\":1}") ? 1 : 0))
    #expect(number == 1)
    #expect(session.state == .ready)
  }

  @Test func `a conversation taken over skips the rest of a message that was begun`() {
    let greeting = QMPGreeting(
      version: QEMUVersion(major: 10, minor: 0), capabilities: ["oob"])
    var session = QMPSession(takingOver: greeting, firstIdentifier: 1 << 32)
    #expect(session.receive(Array("ents\": 3}}\r\n".utf8)).isEmpty)
    let (number, bytes) = session.command("migrate-recover", outOfBand: true)
    #expect(String(decoding: bytes, as: UTF8.self).hasPrefix("{\"exec-oob\""))
    let answer = "{\"return\": {}, \"id\": 12}\r\n{\"return\": {}, \"id\": \(number)}\r\n"
    #expect(session.receive(Array(answer.utf8)) == [.reply(number, .returned([:]))])
  }

  @Test func `a conversation taken over between messages loses none`() {
    let greeting = QMPGreeting(version: QEMUVersion(major: 10, minor: 0), capabilities: [])
    var session = QMPSession(takingOver: greeting, firstIdentifier: 1 << 32)
    let (number, _) = session.command("query-status")
    let answer = Array("{\"return\": {}, \"id\": \(number)}\r\n".utf8)
    let actions = answer.flatMap { session.receive([$0]) }
    #expect(actions == [.reply(number, .returned([:]))])
  }

  @Test(arguments: [
    (Script.greeting, QMPViolation.greetingOutOfPlace),
    ("{\"return\":{},\"id\":\"1\"}", .unknownReply), ("{\"return\":{}}", .unknownReply),
    (
      "{\"error\":{\"class\":\"GenericError\",\"desc\":\"Invalid JSON\"}}",
      .complaint("Invalid JSON")
    ),
    ("{\"execute\":\"stop\"}", .unknownMessage), ("}", .strayByte(0x7D)),
  ])
  func `a monitor that breaks the protocol is recognised`(
    text: String, violation: QMPViolation
  ) throws {
    var session = try Script.session()
    _ = session.command("query-status")
    #expect(session.receive(Array(text.utf8)).last == .breakOff(violation))
  }

  @Test func `memory is bounded by the limit, not by the peer`() throws {
    var session = QMPSession(messageByteLimit: 1000)
    let piece = [UInt8](repeating: UInt8(ascii: " "), count: 100)
    #expect(session.receive(piece).isEmpty)
    #expect(!session.hasPartialMessage)
    #expect(session.receive(Array("{\"QMP\":".utf8)).isEmpty)
    #expect(session.hasPartialMessage)
    let actions = (0..<10).flatMap { _ in session.receive(piece) }
    #expect(actions == [.breakOff(.messageTooLong(limit: 1000))])
    var deep = QMPSession()
    let nested = String(repeating: "{\"a\":[", count: 100_000)
    #expect(deep.receive(Array(nested.utf8)).isEmpty)
    let error = JSONError(offset: 384, problem: .tooDeep(limit: 128))
    let end = String(repeating: "]}", count: 100_000)
    #expect(deep.receive(Array(end.utf8)) == [.breakOff(.notJSON(error))])
  }

  @Test func `a message of exactly the limit is accepted`() throws {
    let text = Array("{\"QMP\": {}}".utf8)
    var framer = QMPFramer(messageByteLimit: text.count)
    #expect(try messages(&framer, text) == [["QMP": [:]]])
    var tight = QMPFramer(messageByteLimit: text.count - 1)
    #expect(throws: QMPViolation.messageTooLong(limit: text.count - 1)) {
      try messages(&tight, text)
    }
  }

  @Test(arguments: [
    QMPMessage.greeting(
      QMPGreeting(version: QEMUVersion(major: 10, minor: 0, micro: 2), capabilities: [])),
    .returned(id: 7, ["a": 1]), .returned(id: nil, []),
    .failed(id: "x", class: "CommandNotFound", description: "The command x has not been found"),
    .event(
      QMPEvent.Message(
        name: "RESUME", data: ["a": 1], timestamp: .init(seconds: 3, microseconds: 4))),
    .command(QMPCommand(name: "stop", id: 4)),
    .command(QMPCommand(name: "qom-get", arguments: ["path": "/machine"])),
  ])
  func `a message is read back as it was written`(message: QMPMessage) throws {
    var framer = QMPFramer()
    let values = try messages(&framer, message.line)
    #expect(try values.map { value throws in try QMPMessage(value) } == [message])
  }

  @Test func `violations are clauses`() {
    let violations: [QMPViolation] = [
      .strayByte(7), .messageTooLong(limit: 3), .unknownMessage, .greetingOutOfPlace,
      .unknownReply, .complaint("x"), .notJSON(JSONError(offset: 1, problem: .invalidUTF8)),
    ]
    for violation in violations {
      #expect(violation.description.count > 20 && !violation.description.hasSuffix("."))
    }
  }

  @Test func `what came before a violation still counts`() throws {
    var session = try Script.session()
    let (number, _) = session.command("query-status")
    let text = "{\"return\": {}, \"id\": 1} nonsense"
    #expect(
      session.receive(Array(text.utf8)) == [
        .reply(number, .returned([:])), .breakOff(.strayByte(0x6E)),
      ])
  }

  func messages(_ framer: inout QMPFramer, _ bytes: [UInt8]) throws -> [JSONValue] {
    var values: [JSONValue] = []
    try framer.receive(bytes) { values.append($0) }
    return values
  }

  static func bad(_ offset: Int, _ byte: UInt8, _ expected: String) -> JSONError {
    JSONError(offset: offset, problem: .unexpectedByte(byte, expected: expected))
  }
}

/// splitmix64: the same numbers for the same seed on every machine.
struct SeededRandom: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var word = state
    word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
    word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
    return word ^ (word >> 31)
  }
}
