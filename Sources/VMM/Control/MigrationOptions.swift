// The settings of a migration, as a value: what capabilities are on, what the parameters are.

public import JSON

/// The migration settings of a machine at one moment.
public struct MigrationOptions: Sendable, Equatable {
  /// The capabilities that are on, by QEMU's names.
  public internal(set) var capabilities: Set<String> = []
  /// All parameters, in the order in which they are listed.
  public internal(set) var parameters: [JSONMember]

  /// Whether a capability is on.
  public func has(_ capability: String) -> Bool { capabilities.contains(capability) }

  /// A parameter's value; `null` for one that there is not.
  public subscript(parameter: String) -> JSONValue {
    parameters.first { $0.name == parameter }?.value ?? .null
  }

  /// The most bytes that are sent in a second; nil where there is no limit.
  public var bytesPerSecond: UInt64? { limit("max-bandwidth") }

  /// The longest time that the machine may stand still, as far as that can be planned.
  public var downtimeLimit: Duration {
    .milliseconds(self["downtime-limit"].int ?? 300)
  }

  /// A rate, where 0 means none.
  func limit(_ name: String) -> UInt64? {
    guard let value = self[name].uint64, value > 0 else { return nil }
    return value
  }
}
