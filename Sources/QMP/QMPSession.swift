// The client's side of QMP as a state machine: bytes in, actions out; no socket, clock or thread.
//
//   awaitingGreeting --greeting--> negotiating --return--> ready
//
// Whatever a peer may not send leads to `broken`, where nothing is read any longer. Commands go out
// in `ready` only. Every answer is matched to its command by a number.

public import JSON

/// A client's half of a QMP conversation.
public struct QMPSession: Sendable {
  /// How far the conversation has come.
  public enum State: Equatable, Sendable {
    /// Nothing has arrived yet.
    case awaitingGreeting
    /// The greeting has come and its acknowledgement is under way.
    case negotiating
    /// Commands can be sent.
    case ready
    /// The peer broke the protocol; the conversation is over.
    case broken(QMPViolation)
  }

  /// What the owner of a session is to do.
  public enum Action: Equatable, Sendable {
    /// Send these bytes.
    case send([UInt8])
    /// Commands can be sent from now on.
    case ready(QMPGreeting)
    /// Hand this to whoever sent the command with this number.
    case reply(UInt64, Reply)
    /// Hand this to everyone who waits for events.
    case event(QMPEvent.Message)
    /// Close the connection; always the last action.
    case breakOff(QMPViolation)
  }

  /// The answer to a command.
  public enum Reply: Equatable, Sendable {
    /// It was carried out.
    case returned(JSONValue)
    /// It was refused.
    case refused(class: String, description: String)
  }

  /// How far the conversation has come.
  public private(set) var state = State.awaitingGreeting
  private var framer: QMPFramer
  private var greeting: QMPGreeting?
  private var nextIdentifier: UInt64
  private var outstanding: Set<UInt64> = []
  /// Bytes of the first line of a conversation that was taken over; nil once it is past.
  private var firstLine: [UInt8]?

  /// The number under which the session itself acknowledges the greeting.
  private let negotiationIdentifier: UInt64

  /// A session before its first byte.
  /// - Parameters:
  ///   - firstIdentifier: the number of its first command; those that follow count up. Taken at
  ///     random, it tells this client's answers from those to an earlier one.
  ///   - messageByteLimit: the longest message accepted, in bytes.
  public init(firstIdentifier: UInt64 = 0, messageByteLimit: Int = 16 << 20) {
    framer = QMPFramer(messageByteLimit: messageByteLimit)
    negotiationIdentifier = firstIdentifier
    nextIdentifier = firstIdentifier + 1
  }

  /// A session that goes on where another client, now gone, left off: nothing is negotiated, the
  /// rest of a message that the other had begun to read is passed over, and so are answers to its
  /// commands.
  public init(
    takingOver greeting: QMPGreeting, firstIdentifier: UInt64, messageByteLimit: Int = 16 << 20
  ) {
    framer = QMPFramer(messageByteLimit: messageByteLimit)
    self.greeting = greeting
    state = .ready
    firstLine = []
    negotiationIdentifier = firstIdentifier
    nextIdentifier = firstIdentifier + 1
  }

  /// Whether commands can overtake others (`exec-oob`), as the peer agreed.
  public var takesOutOfBand: Bool { greeting?.capabilities.contains("oob") ?? false }

  /// Commands that have no answer yet.
  public var outstandingCount: Int { outstanding.count }

  /// Whether the peer has sent anything but whole messages so far.
  public var hasPartialMessage: Bool { framer.pendingByteCount > 0 }

  /// Takes bytes from the peer in, split anywhere.
  /// - Returns: what is to be done, in order; nothing once the peer has broken the protocol.
  public mutating func receive(_ bytes: [UInt8]) -> [Action] {
    if case .broken = state { return [] }
    let bytes = afterFirstLine(bytes)
    var actions: [Action] = []
    do throws(QMPViolation) {
      // The framer is taken out while it runs: it hands its messages back to the session.
      var framer = framer
      self.framer = QMPFramer()
      try framer.receive(bytes) { value throws(QMPViolation) in
        actions += try handle(QMPMessage(value))
      }
      self.framer = framer
    } catch {
      state = .broken(error)
      actions.append(.breakOff(error))
    }
    return actions
  }

  /// Prepares a command for sending; the state must be `ready`.
  /// - Returns: the number its reply will have, and the bytes to send.
  public mutating func command(
    _ name: String, _ arguments: JSONValue = .null, outOfBand: Bool = false
  ) -> (identifier: UInt64, bytes: [UInt8]) {
    precondition(state == .ready, "commands follow the negotiation")
    let identifier = nextIdentifier
    nextIdentifier += 1
    outstanding.insert(identifier)
    let command = QMPCommand(
      name: name, arguments: arguments, id: JSONValue(identifier), isOutOfBand: outOfBand)
    return (identifier, QMPMessage.command(command).line)
  }

  private mutating func handle(_ message: QMPMessage) throws(QMPViolation) -> [Action] {
    switch (state, message) {
    case (.awaitingGreeting, .greeting(let greeting)):
      state = .negotiating
      self.greeting = greeting
      let extras: JSONValue = greeting.capabilities.contains("oob") ? ["enable": ["oob"]] : .null
      let command = QMPCommand(
        name: "qmp_capabilities", arguments: extras, id: JSONValue(negotiationIdentifier))
      return [.send(QMPMessage.command(command).line)]
    case (.awaitingGreeting, .returned), (.awaitingGreeting, .failed),
      (.awaitingGreeting, .event), (.negotiating, .greeting), (.ready, .greeting):
      throw .greetingOutOfPlace
    case (.broken, _), (_, .command): throw .unknownMessage
    case (_, .event(let event)): return [.event(event)]
    case (.negotiating, .returned(let id, _)) where isAnswerToAnother(id),
      (.ready, .returned(let id, _)) where isAnswerToAnother(id),
      (.ready, .failed(let id, _, _)) where isAnswerToAnother(id):
      return []
    case (.negotiating, .returned(let id, _)):
      guard id?.uint64 == negotiationIdentifier, let greeting else { throw .unknownReply }
      state = .ready
      return [.ready(greeting)]
    case (.negotiating, .failed(_, _, let description)): throw .complaint(description)
    case (.ready, .returned(let id, let value)):
      return [.reply(try answered(id, orComplaint: nil), .returned(value))]
    case (.ready, .failed(let id, let kind, let description)):
      let identifier = try answered(id, orComplaint: description)
      return [.reply(identifier, .refused(class: kind, description: description))]
    }
  }

  /// Whether an answer is to the command of an earlier client.
  ///
  /// QEMU sends what it still owes to a client that is gone to the next one; numbers that begin at
  /// random keep the two apart.
  private func isAnswerToAnother(_ id: JSONValue?) -> Bool {
    guard let number = id?.uint64 else { return false }
    return number != negotiationIdentifier && !outstanding.contains(number)
  }

  /// What follows the first line of a conversation that was taken over; the line itself too if it
  /// is a whole message.
  private mutating func afterFirstLine(_ bytes: [UInt8]) -> [UInt8] {
    guard let begun = firstLine else { return bytes }
    let all = begun + bytes
    guard let end = all.firstIndex(of: 0x0A) else {
      firstLine = all.count < framer.messageByteLimit ? all : []
      return []
    }
    firstLine = nil
    let isWhole = (try? QMPMessage(JSONValue(parsing: Array(all[..<end])))) != nil
    return isWhole ? all : Array(all[(end + 1)...])
  }

  private mutating func answered(
    _ id: JSONValue?, orComplaint complaint: String?
  ) throws(QMPViolation) -> UInt64 {
    if id == nil, let complaint { throw .complaint(complaint) }
    guard let identifier = id?.uint64, outstanding.remove(identifier) != nil else {
      throw .unknownReply
    }
    return identifier
  }
}
