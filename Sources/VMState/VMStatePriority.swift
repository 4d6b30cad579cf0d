// The order in which device states travel.

/// The rank of a device's state in a stream: higher ones travel first.
public enum VMStatePriority: Int, Comparable, Sendable {
  /// The rank of most devices.
  case standard = 0

  /// Whether one rank is the lower.
  public static func < (left: VMStatePriority, right: VMStatePriority) -> Bool {
    left.rawValue < right.rawValue
  }
}
