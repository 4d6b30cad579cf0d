// DeviceState.swift: the FULL sections of a stream, kept verbatim.

/// The device state of a machine: its FULL sections as they stood in the stream.
public struct DeviceState: Equatable, Sendable {
  /// The sections, header to footer, one after another, without the element that ends the stream.
  public var bytes: [UInt8]
  /// The vmdescription that came with them: JSON.
  ///
  /// `nil` where the stream had none.
  public var description: [UInt8]?
  /// Whether the sections end in footers: always, but for machine types up to 2.3.
  public var usesFooters: Bool

  /// Keeps FULL sections.
  public init(bytes: [UInt8], description: [UInt8]?, usesFooters: Bool = true) {
    self.bytes = bytes
    self.description = description
    self.usesFooters = usesFooters
  }
}
