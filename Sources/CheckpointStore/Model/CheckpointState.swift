// What a checkpoint holds beside memory.

/// The part of a machine that is not RAM, kept verbatim, with what is needed to give it back.
public struct CheckpointState: Hashable, Sendable {
  /// Machine type as the configuration section names it (`pc-i440fx-7.2`); empty if unknown.
  public var machine: String
  /// The version of the QEMU that was saved (`7.2.19`); empty if unknown.
  public var qemuVersion: String
  /// The target architecture (`x86_64`); empty if unknown.
  public var architecture: String
  /// The guest's page size in bytes.
  public var targetPageSize: UInt64
  /// The section number under which `ram` travelled.
  public var ramSectionID: UInt32
  /// The configuration section's fields, in the caller's encoding.
  public var configuration: [UInt8]
  /// The device sections as they were on the wire.
  public var deviceState: [UInt8]
  /// The vmdescription (JSON) as it was on the wire, if there was one.
  public var vmDescription: [UInt8]?
  /// Whatever else the caller wants to keep (JSON).
  public var metadata: [UInt8]

  /// Makes a state from its parts.
  public init(
    machine: String = "", qemuVersion: String = "", architecture: String = "",
    targetPageSize: UInt64 = 4096, ramSectionID: UInt32 = 0, configuration: [UInt8] = [],
    deviceState: [UInt8] = [], vmDescription: [UInt8]? = nil, metadata: [UInt8] = []
  ) {
    self.machine = machine
    self.qemuVersion = qemuVersion
    self.architecture = architecture
    self.targetPageSize = targetPageSize
    self.ramSectionID = ramSectionID
    self.configuration = configuration
    self.deviceState = deviceState
    self.vmDescription = vmDescription
    self.metadata = metadata
  }
}
