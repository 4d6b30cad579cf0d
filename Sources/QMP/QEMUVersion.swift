// Which QEMU one talks to.

import JSON

/// The version of a QEMU, from its greeting.
public struct QEMUVersion: Equatable, Sendable, Comparable, CustomStringConvertible {
  /// The first number; a new one comes every year.
  public var major: Int
  /// The second number.
  public var minor: Int
  /// The third number: bug fixes.
  ///
  /// 50 and above is a version under development.
  public var micro: Int
  /// The distribution's name of its package; may be empty.
  public var package: String

  /// A version.
  public init(major: Int, minor: Int, micro: Int = 0, package: String = "") {
    self.major = major
    self.minor = minor
    self.micro = micro
    self.package = package
  }

  /// What stands for ``package`` in the answers of Godwit's own machines.
  public static let godwitPackage = "Godwit"

  /// Whether it is no QEMU but a machine of Godwit's own, which speaks a QEMU's dialect.
  public var isGodwit: Bool { package == Self.godwitPackage }

  /// Reads what `query-version` answers.
  init?(_ value: JSONValue) {
    guard let numbers = value["qemu"], let major = numbers["major"]?.int,
      let minor = numbers["minor"]?.int, let micro = numbers["micro"]?.int
    else { return nil }
    self.init(
      major: major, minor: minor, micro: micro, package: value["package"]?.string ?? "")
  }

  var json: JSONValue {
    [
      "qemu": ["micro": JSONValue(micro), "minor": JSONValue(minor), "major": JSONValue(major)],
      "package": .string(package),
    ]
  }

  /// The three numbers, such as `7.2.22`.
  public var description: String { "\(major).\(minor).\(micro)" }

  /// Whether the left one is older; packages do not count.
  public static func < (left: QEMUVersion, right: QEMUVersion) -> Bool {
    (left.major, left.minor, left.micro) < (right.major, right.minor, right.micro)
  }
}
