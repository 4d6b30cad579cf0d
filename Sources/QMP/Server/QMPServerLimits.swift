// What a client may ask of the server's memory.

/// Bounds on one client's conversation.
public struct QMPServerLimits: Sendable, Equatable {
  /// The longest message, in bytes.
  public var messageByteCount = 1 << 20
  /// The deepest nesting of a message.
  public var depth = 64
  /// The most values in a message.
  public var valueCount = 1 << 14
  /// The most commands of a client that wait for one that is carried out; beyond it nothing is
  /// read until one is done.
  public var queuedRequestCount = 8
  /// Unread bytes of answers from which on a client's commands wait.
  public var answerByteCount = 256 << 10
  /// Unread bytes at which a client that does not read its events is given up.
  public var unreadByteCount = 8 << 20
  /// The most clients at a time; more are accepted as soon as one has gone.
  public var clientCount = 16

  /// The usual bounds.
  public init() {}
}
