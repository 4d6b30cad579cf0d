// What goes wrong in the lab, with enough to see why.

/// A lab guest did not do what the test needs.
public struct LabError: Error, CustomStringConvertible {
  /// What was wanted and what was found.
  public var description: String

  /// A failure in one sentence.
  public init(_ description: String) { self.description = description }
}
