// What a text may ask of its reader's memory and stack.

/// Bounds on a JSON text, checked before anything is allocated for what exceeds them.
public struct JSONLimits: Equatable, Sendable {
  /// The longest text, in bytes.
  public var byteCount: Int
  /// The deepest nesting of lists and objects; the reader recurses once for each level.
  public var depth: Int
  /// The most values (members' values and list elements included).
  public var valueCount: Int

  /// Bounds for one text.
  /// - Parameters:
  ///   - byteCount: the longest text, in bytes.
  ///   - depth: the deepest nesting.
  ///   - valueCount: the most values.
  public init(byteCount: Int = 64 << 20, depth: Int = 128, valueCount: Int = 4 << 20) {
    self.byteCount = byteCount
    self.depth = depth
    self.valueCount = valueCount
  }

  /// 64 MiB, 128 levels, 4 Mi values: beyond every message and description QEMU is known to send.
  public static let standard = JSONLimits()
}
