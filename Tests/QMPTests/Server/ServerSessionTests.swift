// The server's session alone: what it answers to whom, in which order, whatever the bytes.

import JSON
import QEMULab
import Testing
import Transport

@testable import QMP

@Suite struct ServerSessionTests {
  @Test func `the greeting is one that clients understand`() throws {
    let session = QMPServerSession(version: QEMUVersion(major: 10, minor: 0, package: "x"))
    let message = try QMPMessage(JSONValue(parsing: session.greeting))
    let version = QEMUVersion(major: 10, minor: 0, package: "x")
    #expect(message == .greeting(QMPGreeting(version: version, capabilities: ["oob"])))
  }

  @Test func `nothing but the negotiation comes first`() throws {
    let conversation = try ServedConversation(isReady: false)
    let early = try conversation.say(#"{"execute":"query-name","id":1}"#)
    #expect(
      early.map(Answers.short) == [
        "1 CommandNotFound Expecting capabilities negotiation with 'qmp_capabilities'"
      ])
    let wrong = try conversation.say(
      #"{"execute":"qmp_capabilities","arguments":{"enable":["magic"]}}"#)
    #expect(wrong[0]["error"]?["class"] == "GenericError")
    #expect(!conversation.session.isReady)
    #expect(try conversation.say(#"{"execute":"qmp_capabilities"}"#) == [["return": [:]]])
    #expect(conversation.session.isReady)
  }

  @Test(arguments: Rubbish.all)
  func `rubbish is answered as QEMU does, and the conversation goes on`(
    rubbish: Rubbish
  ) throws {
    let conversation = try ServedConversation()
    #expect(try conversation.say(rubbish.bytes).map(Answers.short) == rubbish.answers)
    // The byte that no text holds is safe ground, whatever came before.
    let after = try conversation.say([0xFF] + Array("\n{\"execute\":\"stop\",\"id\":9}".utf8))
    #expect(after.last.map(Answers.short) == "9")
  }

  @Test(arguments: Rubbish.all)
  func `rubbish byte by byte is the same rubbish`(rubbish: Rubbish) throws {
    let conversation = try ServedConversation()
    var answers: [JSONValue] = []
    for byte in rubbish.bytes { answers += try conversation.say([byte]) }
    #expect(answers.map(Answers.short) == rubbish.answers)
  }

  @Test func `limits are answered and reading goes on with the next line`() throws {
    let conversation = try ServedConversation()
    let deep = try conversation.say(String(repeating: "[", count: 100) + "\n")
    #expect(deep.map(Answers.short) == ["JSON nesting depth limit exceeded"])
    let long = try conversation.say("\"" + String(repeating: "x", count: 9000) + "\"\n")
    #expect(long.map(Answers.short) == ["JSON token size limit exceeded"])
    let many = try conversation.say("[" + String(repeating: "1,", count: 300) + "1]\n")
    #expect(many.map(Answers.short) == ["JSON token count limit exceeded"])
    #expect(conversation.session.heldByteCount == 0)
    let good = try conversation.say(#"{"execute":"query-name","id":1}"#)
    #expect(good == [["return": [:], "id": 1]])
  }

  @Test func `a client that never ends its line holds no more than the limit`() throws {
    var session = QMPServerSession(
      version: TestHost.table.version, limits: TestHost.limits)
    var actionCount = 0
    for _ in 0..<64 {
      session.receive(Array(repeating: UInt8(ascii: "x"), count: 4096))
      while session.nextAction() != nil { actionCount += 1 }
      #expect(session.heldByteCount <= 4097)
    }
    #expect(actionCount == 1)
  }

  @Test func `one command is carried out at a time, and the rest waits its turn`() throws {
    var session = QMPServerSession(
      version: TestHost.table.version, limits: TestHost.limits)
    session.receive(Array(#"{"execute":"qmp_capabilities"}"#.utf8))
    while session.nextAction() != nil {}
    let commands = (0..<20).map { "{\"execute\":\"stop\",\"id\":\($0)}" }.joined()
    session.receive(Array(commands.utf8))
    for number in 0..<20 {
      guard case .execute(let request) = session.nextAction() else {
        Issue.record("command \(number) is not due")
        return
      }
      #expect(request.id == JSONValue(number))
      let early = session.nextAction()
      #expect(early == nil)
      #expect(!session.isIdle)
      if number < 18 { #expect(!session.wantsInput) }
      _ = session.finish(request, .success([:]))
    }
    let last = session.nextAction()
    #expect(last == nil && session.wantsInput && session.isIdle)
  }

  @Test func `errors are answered in their turn too`() throws {
    var session = QMPServerSession(version: TestHost.table.version, limits: TestHost.limits)
    session.receive(Array("{\"execute\":\"qmp_capabilities\"}".utf8))
    while session.nextAction() != nil {}
    session.receive(
      Array("{\"execute\":\"stop\",\"id\":1} oops {\"execute\":\"stop\",\"id\":2}".utf8))
    guard case .execute(let first) = session.nextAction() else { throw Missing() }
    let early = session.nextAction()
    #expect(early == nil)
    _ = session.finish(first, .success([:]))
    guard case .send = session.nextAction() else { throw Missing() }
    guard case .execute(let second) = session.nextAction() else { throw Missing() }
    #expect(second.id == 2)
  }

  @Test func `what is sent out of band overtakes`() throws {
    var session = QMPServerSession(version: TestHost.table.version, limits: TestHost.limits)
    session.receive(
      Array("{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}".utf8))
    while session.nextAction() != nil {}
    session.receive(
      Array(
        """
        {"execute":"stop","id":1} {"execute":"stop","id":2} {"exec-oob":"at-once","id":3}
        """.utf8))
    guard case .execute(let slow) = session.nextAction() else { throw Missing() }
    guard case .execute(let quick) = session.nextAction() else { throw Missing() }
    #expect(slow.id == 1 && quick.id == 3 && quick.isOutOfBand)
    let early = session.nextAction()
    #expect(early == nil)
    let answer = try JSONValue(parsing: session.finish(quick, .success([:])))
    #expect(Answers.short(answer) == "3")
    _ = session.finish(slow, .success([:]))
    guard case .execute(let next) = session.nextAction() else { throw Missing() }
    #expect(next.id == 2)
  }

  @Test func `out of band is for those who asked for it and commands that allow it`() throws {
    let plain = try ServedConversation()
    let answers = try plain.say(#"{"exec-oob":"at-once","id":1}"#)
    #expect(answers.map(Answers.short) == ["1 QMP input member 'exec-oob' is unexpected"])
    let other = try ServedConversation(enablesOutOfBand: true)
    let refused = try other.say(#"{"exec-oob":"stop","id":1}"#)
    #expect(refused.map(Answers.short) == ["1 The command stop does not support OOB"])
    let clash = try other.say(#"{"exec-oob":"at-once","execute":"stop"}"#)
    #expect(
      clash.map(Answers.short) == ["QMP input member 'execute' clashes with 'exec-oob'"])
    #expect(try other.say(#"{"exec-oob":"at-once","id":1}"#).map(Answers.short) == ["1"])
  }

  struct Missing: Error {}
}

/// The same rubbish, sent to real QEMUs: that it is their answers which are compared with.
@Suite(
  .enabled(if: !QEMU.all(.x86_64).isEmpty, "no qemu-system-x86_64 on PATH or in GODWIT_QEMU"),
  .timeLimit(.minutes(10)), .serialized)
struct RubbishHostTests {
  @Test(arguments: QEMU.all(.x86_64))
  func `QEMU answers rubbish as it says here`(qemu: QEMU) throws {
    let guest = try LabGuest(
      LabConfiguration(qemu, machine: "pc", memoryMegabytes: 32), isPaused: true)
    let channel = try ByteChannel.connect(to: .unix(path: guest.qmpPath))
    let reader = LineReader(channel)
    _ = try reader.next()
    try channel.write(Array(#"{"execute":"qmp_capabilities"}"#.utf8))
    _ = try reader.next()
    for rubbish in Rubbish.all {
      let end = "\n{\"execute\":\"query-name\",\"id\":\"end\"}\n"
      try channel.write(rubbish.bytes + Array(end.utf8))
      var answers: [String] = []
      while let answer = try reader.next(), answer["id"] != "end" {
        answers.append(Answers.short(answer))
      }
      #expect(answers == rubbish.answers, "\(rubbish)")
    }
  }
}

/// Reads a channel line by line as JSON.
final class LineReader {
  private let channel: ByteChannel
  private var rest: [UInt8] = []

  init(_ channel: ByteChannel) { self.channel = channel }

  /// The next line; nil at the end.
  func next() throws -> JSONValue? {
    while true {
      if let end = rest.firstIndex(of: 0x0A) {
        defer { rest.removeFirst(end + 1) }
        return try JSONValue(parsing: Array(rest[..<end]))
      }
      let bytes = try channel.read(atMost: 64 << 10)
      if bytes.isEmpty { return nil }
      rest += bytes
    }
  }
}
