// One place per command: its name, what it takes, what it answers, when it is allowed, and what
// carries it out.

public import JSON

/// What a command table works for.
public protocol QMPHost: Sendable {
  /// The state that decides which commands are allowed now; asked from any thread.
  var runState: QMPRunState { get }
}

/// In which run states a command is allowed.
public enum QMPAllowedStates: Sendable {
  /// In all of them.
  case always
  /// In all but these, which it refuses with these texts.
  case except([(state: QMPRunState, refusal: String)])
  /// In these alone; in the others it is refused with this text.
  case only([QMPRunState], refusal: String)

  /// The text with which the command is refused in `state`; nil where it is allowed.
  public func refusal(in state: QMPRunState) -> String? {
    switch self {
    case .always: nil
    case .except(let exceptions): exceptions.first { $0.state == state }?.refusal
    case .only(let states, let refusal): states.contains(state) ? nil : refusal
    }
  }
}

/// A command that a server carries out.
public struct QMPServedCommand<Host: QMPHost>: Sendable {
  /// What carries a command out.
  public typealias Handler = @Sendable (Host, QMPCall) throws(QMPRefusal) -> JSONValue

  /// Its name, such as `query-status`.
  public let name: String
  /// What it does, in one line for the documentation.
  public let summary: String
  /// What it takes.
  public let arguments: [QMPMember]
  /// What it answers.
  public let returns: QMPType
  /// When it is allowed.
  public let allowed: QMPAllowedStates
  /// Whether it may overtake others (`exec-oob`): it must not block, and its handler is called
  /// from any thread, beside another command's.
  public let isOutOfBandAllowed: Bool
  /// Whether it only looks, and is answered beside another client's command.
  ///
  /// It must not block; it is carried out on any thread. Of one client the order is kept.
  public let onlyLooks: Bool
  /// Whether a descriptor travels with it.
  public let takesDescriptor: Bool
  let handler: Handler

  /// A command.
  /// - Parameters:
  ///   - name: its name.
  ///   - summary: what it does, in one line.
  ///   - arguments: what it takes.
  ///   - returns: what it answers.
  ///   - allowed: when it is allowed.
  ///   - isOutOfBandAllowed: whether it may overtake others.
  ///   - onlyLooks: whether it need not wait for other clients' commands.
  ///   - takesDescriptor: whether a descriptor travels with it.
  ///   - handler: carries it out. The arguments were checked before. It is called on the server's
  ///     one thread for commands, out-of-band calls and commands that only look excepted.
  public init(
    _ name: String, _ summary: String, arguments: [QMPMember] = [], returns: QMPType = .nothing,
    allowed: QMPAllowedStates = .always, isOutOfBandAllowed: Bool = false,
    onlyLooks: Bool = false, takesDescriptor: Bool = false, handler: @escaping Handler
  ) {
    self.name = name
    self.summary = summary
    self.arguments = arguments
    self.returns = returns
    self.allowed = allowed
    self.isOutOfBandAllowed = isOutOfBandAllowed
    self.onlyLooks = onlyLooks
    self.takesDescriptor = takesDescriptor
    self.handler = handler
  }
}

/// An event that a server reports.
public struct QMPServedEvent: Sendable {
  /// Its name, such as `STOP`.
  public let name: String
  /// When it comes, in one line for the documentation.
  public let summary: String
  /// What it says.
  public let data: [QMPMember]
  /// The least time between two of them, for those that a guest can cause as often as it likes.
  ///
  /// Of those that come faster, the last one is sent when the time is over.
  public let interval: Duration?

  /// An event.
  /// - Parameters:
  ///   - name: its name.
  ///   - summary: when it comes, in one line.
  ///   - data: what it says.
  ///   - interval: the least time between two of them; nil for none.
  public init(
    _ name: String, _ summary: String, data: [QMPMember] = [], interval: Duration? = nil
  ) {
    self.name = name
    self.summary = summary
    self.data = data
    self.interval = interval
  }
}
