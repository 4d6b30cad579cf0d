// What a peer did that has no place in the protocol, said so that a person can act on it.

/// Something a peer said or asked that does not fit what went before.
public struct ProtocolViolation: Error, Equatable, Hashable, Sendable {
  /// What was being done.
  public let activity: String
  /// What could have come.
  public let expected: String
  /// What came.
  public let found: String

  /// A violation, from its parts; each is a phrase, not a sentence.
  public init(during activity: String, expected: String, found: String) {
    self.activity = activity
    self.expected = expected
    self.found = found
  }
}

extension ProtocolViolation: CustomStringConvertible {
  /// A sentence for a person.
  public var description: String {
    "While \(activity), expected \(expected), but found \(found)."
  }
}
