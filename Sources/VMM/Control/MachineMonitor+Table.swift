// All commands and events of a machine, in the order in which they are documented.

public import QMP

extension MachineMonitor {
  /// What a machine's server offers.
  public static let table = QMPCommandTable(
    version: version,
    commands: runStateCommands + descriptionCommands + deviceCommands + memoryCommands
      + dirtyRateCommands + migrationCommands + migrationSettingsCommands + descriptorCommands
      + humanCommands,
    events: servedEvents)

  /// The version whose dialect the server speaks: the oldest QEMU that has all of what is here.
  static let version = QEMUVersion(
    major: 10, minor: 0, micro: 0, package: QEMUVersion.godwitPackage)
}
