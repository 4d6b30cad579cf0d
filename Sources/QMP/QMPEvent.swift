// Something that QEMU reports without having been asked.

public import JSON

/// An event, and when it got here.
public struct QMPEvent: Equatable, Sendable {
  /// The event as it was sent.
  public var message: Message
  /// When this process read it, on its own monotonic clock.
  public var arrival: ContinuousClock.Instant

  /// An event with its arrival.
  public init(message: Message, arrival: ContinuousClock.Instant) {
    self.message = message
    self.arrival = arrival
  }

  /// The event's name, such as `STOP`.
  public var name: String { message.name }
  /// What the event says; an object, empty where it says nothing.
  public var data: JSONValue { message.data }
  /// When it happened, by the host's wall clock.
  public var timestamp: Timestamp { message.timestamp }

  /// An event as it is sent.
  public struct Message: Equatable, Sendable {
    /// The event's name, such as `STOP`.
    public var name: String
    /// What the event says; an object, empty where it says nothing.
    public var data: JSONValue
    /// When it happened, by the host's wall clock.
    public var timestamp: Timestamp

    /// An event.
    public init(name: String, data: JSONValue, timestamp: Timestamp) {
      self.name = name
      self.data = data
      self.timestamp = timestamp
    }
  }

  /// Wall-clock time since 1970; -1 in both where QEMU had no clock.
  public struct Timestamp: Equatable, Sendable {
    /// Whole seconds.
    public var seconds: Int64
    /// Microseconds within the second.
    public var microseconds: Int64

    /// A time.
    public init(seconds: Int64, microseconds: Int64) {
      self.seconds = seconds
      self.microseconds = microseconds
    }
  }
}
