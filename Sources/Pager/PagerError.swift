// Everything that can go wrong between a machine and its pager, each as a sentence.

/// Why a pager could not be started or used, or what became of the machine that it received.
public enum PagerError: Error, Equatable, Sendable {
  /// The process could not be started; `reason` is a clause.
  case notStarted(command: String, reason: String)
  /// Memory could not be shared, doing `action`; `reason` is a clause.
  case memory(action: String, reason: String)
  /// What came over the control link is not this protocol, or not this version of it.
  case protocolViolation(String)
  /// The pager ended by itself, or was killed, before the machine could have run.
  case lost
  /// The migration failed, as the engine in the pager says: a sentence.
  case failed(String)
  /// The link to the source is gone and the machine goes on: a sentence.
  case interrupted(String)
  /// The machine refused something, as it says: a sentence.
  case refused(String)
}

extension PagerError: CustomStringConvertible {
  /// A sentence for a person: what was being done, what was found, what to do next.
  public var description: String {
    switch self {
    case .notStarted(let command, let reason):
      "The pager '\(command)' could not be started: \(reason). Without one the machine can only "
        + "be received whole: turn postcopy-ram off."
    case .memory(let action, let reason):
      "\(action) failed: \(reason)."
    case .protocolViolation(let what):
      "The machine and its pager do not understand each other: \(what). Are both of the same "
        + "Godwit?"
    case .lost:
      "The pager, which receives the machine's memory, ended before the machine could run: "
        + "nothing runs here, and the source can go on once it is sure of that."
    case .failed(let sentence), .interrupted(let sentence), .refused(let sentence):
      sentence
    }
  }
}
