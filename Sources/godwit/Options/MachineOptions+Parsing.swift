// The machine's own types as option values.

public import ArgumentParser
public import Devices
public import DirtyTracking
public import VMM

extension MemorySize: ExpressibleByArgument {
  /// Reads an option's value.
  public init?(argument: String) { self.init(argument) }
}

extension AcceleratorKind: ExpressibleByArgument {}

extension DirtyLogKind: ExpressibleByArgument {}

extension CharacterBackend: ExpressibleByArgument {
  /// Reads an option's value.
  public init?(argument: String) { self.init(argument) }
}
