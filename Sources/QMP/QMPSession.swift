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
  private var nextIdentifier: UInt64 = 1
  private var outstanding: Set<UInt64> = []

  /// The number under which the session itself acknowledges the greeting.
  private static let negotiationIdentifier: UInt64 = 0

  /// A session before its first byte.
  /// - Parameter messageByteLimit: the longest message accepted, in bytes.
  public init(messageByteLimit: Int = 16 << 20) {
    framer = QMPFramer(messageByteLimit: messageByteLimit)
  }

  /// Commands that have no answer yet.
  public var outstandingCount: Int { outstanding.count }

  /// Whether the peer has sent anything but whole messages so far.
  public var hasPartialMessage: Bool { framer.pendingByteCount > 0 }

  /// Takes bytes from the peer in, split anywhere.
  /// - Returns: what is to be done, in order; nothing once the peer has broken the protocol.
  public mutating func receive(_ bytes: [UInt8]) -> [Action] {
    if case .broken = state { return [] }
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
    _ name: String, _ arguments: JSONValue = .null
  ) -> (identifier: UInt64, bytes: [UInt8]) {
    precondition(state == .ready, "commands follow the negotiation")
    let identifier = nextIdentifier
    nextIdentifier += 1
    outstanding.insert(identifier)
    let command = QMPCommand(name: name, arguments: arguments, id: JSONValue(identifier))
    return (identifier, QMPMessage.command(command).line)
  }

  private mutating func handle(_ message: QMPMessage) throws(QMPViolation) -> [Action] {
    switch (state, message) {
    case (.awaitingGreeting, .greeting(let greeting)):
      state = .negotiating
      self.greeting = greeting
      let command = QMPCommand(
        name: "qmp_capabilities", id: JSONValue(Self.negotiationIdentifier))
      return [.send(QMPMessage.command(command).line)]
    case (.awaitingGreeting, .returned), (.awaitingGreeting, .failed),
      (.awaitingGreeting, .event), (.negotiating, .greeting), (.ready, .greeting):
      throw .greetingOutOfPlace
    case (.broken, _), (_, .command): throw .unknownMessage
    case (_, .event(let event)): return [.event(event)]
    case (.negotiating, .returned(let id, _)):
      guard id?.uint64 == Self.negotiationIdentifier, let greeting else { throw .unknownReply }
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
