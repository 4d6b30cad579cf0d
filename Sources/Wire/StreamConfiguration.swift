// StreamConfiguration.swift: what a stream says of its machine before anything else.

/// The configuration section: the machine type, and what both ends must agree on.
public struct StreamConfiguration: Equatable, Hashable, Sendable {
  /// The machine type with its version (`pc-i440fx-7.2`).
  public var machine: String
  /// The base-2 logarithm of the target page size, if it travelled (never for x86).
  public var targetPageBits: UInt32?
  /// The capabilities that both ends must have set alike (`x-ignore-shared`, `mapped-ram`), or
  /// `nil` where the subsection was absent.
  public var capabilities: [String]?
  /// The guest's UUID, 16 bytes, if `validate-uuid` was set.
  public var uuid: [UInt8]?

  /// Describes a machine.
  public init(
    machine: String, targetPageBits: UInt32? = nil, capabilities: [String]? = nil,
    uuid: [UInt8]? = nil
  ) {
    self.machine = machine
    self.targetPageBits = targetPageBits
    self.capabilities = capabilities
    self.uuid = uuid
  }

  /// Whether the section lists the capability `name`.
  public func hasCapability(_ name: String) -> Bool {
    capabilities?.contains(name) ?? false
  }
}
