// What the environment says about how much to test.

import Foundation

/// The lab's switches.
public enum Lab {
  /// The environment variable that asks for the tests that take minutes.
  public static let longName = "GODWIT_LONG_TESTS"

  /// Whether the tests that take minutes are to run.
  public static let isLong = !(ProcessInfo.processInfo.environment[longName] ?? "").isEmpty
}
