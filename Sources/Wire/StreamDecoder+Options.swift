// StreamDecoder+Options.swift: what a decoder can be told of its stream beforehand.

extension StreamDecoder {
  /// What the reader of a stream knows that the stream does not say.
  public struct Options: Sendable {
    /// The target page size in bytes, where neither the configuration nor an advice names it.
    ///
    /// A power of two from 1 KiB to 64 KiB; right for x86 and most others as it is.
    public var targetPageSize = 4096
    /// Whether the machine sends a vmdescription, as all do but with `suppress-vmdesc=on`.
    ///
    /// If not, the end of the input ends the device state.
    public var expectsDeviceDescription = true
    /// The facts of the first connection, where this one carries on a postcopy after a break.
    public var recovery: Recovery?
    /// Whether this is not the stream itself but the channel of a postcopy's requested pages
    /// (`postcopy-preempt`): records of pages and nothing else, up to an end-of-section record or
    /// the end of the input.
    ///
    /// Needs `recovery`.
    public var carriesOnlyPages = false
    /// The bounds on what is held.
    public var limits = WireLimits()
    /// Whether both ends agreed on pages that travel by their hash (Godwit's own): without that,
    /// a stream that has any is refused.
    public var takesKnownPages = false

    /// The options that suit a stream from its beginning.
    public init(
      targetPageSize: Int = 4096, expectsDeviceDescription: Bool = true,
      recovery: Recovery? = nil, limits: WireLimits = WireLimits(), takesKnownPages: Bool = false
    ) {
      self.targetPageSize = targetPageSize
      self.expectsDeviceDescription = expectsDeviceDescription
      self.recovery = recovery
      self.limits = limits
      self.takesKnownPages = takesKnownPages
    }
  }

  /// What a recovered connection relies on from the connection that broke: it has no header, no
  /// configuration and no announcement of blocks.
  public struct Recovery: Equatable, Sendable {
    /// The sender's number for the RAM section.
    public var ramSectionID: UInt32
    /// The announced blocks.
    public var blocks: [RAMBlockDescription]
    /// The size of a target page in bytes.
    public var targetPageSize: Int
    /// Whether sections end in footers.
    public var usesFooters: Bool

    /// Keeps the facts of a first connection.
    public init(
      ramSectionID: UInt32, blocks: [RAMBlockDescription], targetPageSize: Int,
      usesFooters: Bool = true
    ) {
      self.ramSectionID = ramSectionID
      self.blocks = blocks
      self.targetPageSize = targetPageSize
      self.usesFooters = usesFooters
    }
  }
}
