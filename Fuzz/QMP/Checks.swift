// Checks.swift: what has to hold for every input.

import FuzzFrame
import JSON
import QMP

extension FuzzQMP {
  /// Small enough for damaged inputs to reach.
  static let messageByteLimit = 16 << 10

  /// Reads an input in every way that it is meant for.
  static func check(
    _ kind: Kind, _ input: [UInt8], _ random: inout SplitMix, isCanary: Bool
  ) throws {
    switch kind {
    case .opening:
      try checkSession(QMPSession(messageByteLimit: messageByteLimit), input, &random, isCanary)
    case .client: try checkSession(readySession(), input, &random, isCanary)
    case .server:
      try checkCommands(input, &random)
      try checkServer(input, &random, isCanary)
    case .json: try checkJSON(input)
    case .ramblock: try checkBlocks(input)
    }
  }

  private static func readySession() -> QMPSession {
    var session = QMPSession(messageByteLimit: messageByteLimit)
    let version = QEMUVersion(major: 7, minor: 2)
    let greeting = QMPMessage.greeting(QMPGreeting(version: version, capabilities: []))
    _ = session.receive(greeting.line + QMPMessage.returned(id: 0, [:]).line)
    for _ in 0..<16 { _ = session.command("query-status") }
    return session
  }

  private static func feed(
    _ session: QMPSession, _ input: [UInt8], pieceSize: () -> Int
  ) -> (actions: [QMPSession.Action], session: QMPSession) {
    var session = session
    var actions: [QMPSession.Action] = []
    var rest = input[...]
    while !rest.isEmpty {
      let piece = rest.prefix(pieceSize())
      rest = rest.dropFirst(piece.count)
      actions += session.receive(Array(piece))
    }
    return (actions, session)
  }

  private static func checkSession(
    _ session: QMPSession, _ input: [UInt8], _ random: inout SplitMix, _ isCanary: Bool
  ) throws {
    let whole = feed(session, input) { .max }
    let largest = random.oneIn(2) ? 3 : 300
    let given = isCanary ? Array(input.dropLast(40)) : input
    let split = feed(session, given) { 1 + random.below(largest) }
    guard whole.actions == split.actions, whole.session.state == split.session.state else {
      throw Finding(
        description: "splitting the input changed what it says: \(whole.actions) and "
          + "\(split.actions)")
    }
    guard whole.session.outstandingCount <= session.outstandingCount else {
      throw Finding(description: "answers that make commands")
    }
    for action in whole.actions { try check(action) }
  }

  /// Whatever a monitor may say is read by the typed answers without a trap.
  private static func check(_ action: QMPSession.Action) throws {
    switch action {
    case .send, .ready, .breakOff, .reply(_, .refused): return
    case .event(let event):
      let message = QMPMessage.event(event)
      guard try QMPMessage(message.json) == message else {
        throw Finding(description: "an event that does not come back as it was: \(event)")
      }
    case .reply(_, .returned(let value)):
      try checkText(value)
      _ = MigrationInfo(value)
      _ = QMPSchema(value)
      if let text = value.string { try checkBlocks(Array(text.utf8)) }
    }
  }

  private static func checkCommands(_ input: [UInt8], _ random: inout SplitMix) throws {
    var framer = QMPFramer(messageByteLimit: messageByteLimit)
    var rest = input[...]
    while !rest.isEmpty {
      let piece = rest.prefix(1 + random.below(200))
      rest = rest.dropFirst(piece.count)
      var values: [JSONValue] = []
      let isIntact: Bool
      do {
        try framer.receive(Array(piece)) { values.append($0) }
        isIntact = true
      } catch {
        isIntact = false
      }
      guard framer.pendingByteCount <= messageByteLimit else {
        throw Finding(description: "the framer holds \(framer.pendingByteCount) bytes")
      }
      for value in values {
        guard let message = try? QMPMessage(value) else { continue }
        guard try QMPMessage(message.json) == message else {
          throw Finding(description: "a message that does not come back as it was: \(value)")
        }
      }
      if !isIntact { return }
    }
  }

  /// The server outlives every input, answers whole messages, and means the same however it is
  /// split.
  private static func checkServer(
    _ input: [UInt8], _ random: inout SplitMix, _ isCanary: Bool
  ) throws {
    let whole = try served(input) { .max }
    let largest = random.oneIn(2) ? 3 : 300
    let split = try served(isCanary ? Array(input.dropLast(40)) : input) {
      1 + random.below(largest)
    }
    guard whole == split else {
      throw Finding(
        description: "splitting the input changed the answers: \(whole) and \(split)")
    }
  }

  /// What a server answers whose every command succeeds at once.
  private static func served(
    _ input: [UInt8], pieceSize: () -> Int
  ) throws -> [QMPMessage] {
    var limits = QMPServerLimits()
    limits.messageByteCount = messageByteLimit
    var session = QMPServerSession(version: QEMUVersion(major: 10, minor: 0), limits: limits)
    var answers: [QMPMessage] = []
    let greeting = #"{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}"#
    var rest = (Array(greeting.utf8) + input)[...]
    while !rest.isEmpty {
      let piece = rest.prefix(pieceSize())
      rest = rest.dropFirst(piece.count)
      session.receive(Array(piece))
      while let action = session.nextAction() {
        let line: [UInt8] =
          switch action {
          case .send(let bytes): bytes
          case .execute(let request): session.finish(request, .success([:]))
          }
        answers.append(try QMPMessage(JSONValue(parsing: line)))
      }
      guard session.isIdle, session.wantsInput, session.heldByteCount <= messageByteLimit + 1 else {
        throw Finding(description: "the server holds \(session.heldByteCount) bytes")
      }
    }
    return answers
  }

  private static func checkJSON(_ input: [UInt8]) throws {
    let value: JSONValue
    do {
      value = try JSONValue(parsing: input, limits: JSONLimits(depth: 64))
    } catch {
      guard error.offset <= input.count else {
        throw Finding(description: "an error beyond the text: \(error)")
      }
      return
    }
    try checkText(value)
  }

  private static func checkText(_ value: JSONValue) throws {
    guard try JSONValue(parsing: value.bytes()) == value,
      try JSONValue(parsing: value.bytes(pretty: true)) == value
    else { throw Finding(description: "a value that does not come back as it was: \(value)") }
  }

  private static func checkBlocks(_ input: [UInt8]) throws {
    let blocks = RAMBlockInfo.parse(String(decoding: input, as: UTF8.self)) ?? []
    for block in blocks {
      guard block.usedByteCount <= block.maximumByteCount, block.pageByteCount > 0,
        !block.name.isEmpty
      else { throw Finding(description: "a block that cannot be: \(block)") }
    }
  }
}
