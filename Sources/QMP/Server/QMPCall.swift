// What a command's handler is given.

public import JSON

/// One call of a command, its arguments checked against the table.
public struct QMPCall: Sendable {
  /// The command's name.
  public let command: String
  /// The arguments as they were sent; an object.
  public let arguments: JSONValue
  /// The descriptors that this client has given names to.
  public let descriptors: QMPDescriptorNames
  /// The descriptor that travelled with the command, if one did.
  public let descriptor: QMPDescriptor?

  /// A call.
  public init(
    command: String, arguments: JSONValue = [:], descriptors: QMPDescriptorNames,
    descriptor: QMPDescriptor? = nil
  ) {
    self.command = command
    self.arguments = arguments
    self.descriptors = descriptors
    self.descriptor = descriptor
  }

  /// An argument; nil where it was left out.
  public subscript(name: String) -> JSONValue? { arguments[name] }

  /// A text that the table says must be given.
  public func string(_ name: String) throws(QMPRefusal) -> String {
    try require(arguments[name]?.string, name)
  }

  /// A truth value that the table says must be given.
  public func bool(_ name: String) throws(QMPRefusal) -> Bool {
    try require(arguments[name]?.bool, name)
  }

  /// A whole number that the table says must be given and is not negative.
  public func uint64(_ name: String) throws(QMPRefusal) -> UInt64 {
    try require(arguments[name]?.uint64, name)
  }

  /// A whole number that the table says must be given.
  public func int64(_ name: String) throws(QMPRefusal) -> Int64 {
    try require(arguments[name]?.int64, name)
  }

  private func require<Value>(_ value: Value?, _ name: String) throws(QMPRefusal) -> Value {
    guard let value else { throw QMPRefusal("Parameter '\(name)' is missing") }
    return value
  }
}
