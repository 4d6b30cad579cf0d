// VMStatePriority.swift: which devices' sections come first.

/// A place in the order in which devices are saved and put back: higher ones first.
///
/// Devices of the same priority keep the order in which they were registered.
public struct VMStatePriority: RawRepresentable, Hashable, Comparable, Sendable {
  /// The place; any integer.
  public var rawValue: Int

  /// The priority of that place.
  public init(rawValue: Int) { self.rawValue = rawValue }

  /// Processors, each with its own interrupt controller.
  public static let processor = VMStatePriority(rawValue: 200)
  /// What all devices use, and what sends to processors: interrupt controllers, timers, clocks.
  public static let platform = VMStatePriority(rawValue: 100)
  /// Every other device.
  public static let device = VMStatePriority(rawValue: 0)
  /// What describes the whole, and so comes last.
  public static let last = VMStatePriority(rawValue: -100)

  /// Whether `left` comes after `right`.
  public static func < (left: Self, right: Self) -> Bool { left.rawValue < right.rawValue }
}
