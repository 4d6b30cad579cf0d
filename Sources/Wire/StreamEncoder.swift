// StreamEncoder.swift: writes the elements of a stream into a buffer of bytes.

/// Writes QEMU's migration format.
///
/// The encoder appends to `buffer`, which its owner sends and empties as it likes
/// (`removeAll(keepingCapacity: true)`). It keeps what a channel's next record depends on: the
/// block that was named last, and the footers. The order of the elements is the caller's affair.
public struct StreamEncoder: Sendable {
  /// What has been written and not yet taken.
  public var buffer: [UInt8] = []
  /// The names of the RAM blocks that page addresses refer to, in the announced order.
  public private(set) var blockNames: [String]
  /// The size of a target page in bytes.
  public let targetPageSize: Int
  /// Whether sections end in a footer: always, but for machine types up to 2.3.
  public let usesFooters: Bool
  /// The block that the last record on this channel named, by its index.
  var namedBlock: Int?

  /// An encoder that has written nothing.
  ///
  /// Give `blockNames` for a channel that carries pages without announcing blocks itself: a
  /// recovered connection, or the second channel of a preempting postcopy.
  public init(targetPageSize: Int = 4096, usesFooters: Bool = true, blockNames: [String] = []) {
    self.targetPageSize = targetPageSize
    self.usesFooters = usesFooters
    self.blockNames = blockNames
  }

  /// The magic number and the version.
  public mutating func appendHeader() {
    buffer.append(bigEndian: StreamHeader.magic)
    buffer.append(bigEndian: StreamHeader.version)
  }

  /// The configuration section, which follows the header at once.
  /// - Throws: `WireError` of kind `notEncodable` if a capability's name exceeds 255 bytes or
  ///   the UUID is not 16 bytes.
  public mutating func append(_ configuration: StreamConfiguration) throws(WireError) {
    buffer.append(ElementType.configuration.rawValue)
    buffer.append(bigEndian: UInt32(configuration.machine.utf8.count))
    buffer.append(contentsOf: configuration.machine.utf8)
    if let bits = configuration.targetPageBits {
      try appendConfigurationPart(StreamConfiguration.PartName.targetPageBits)
      buffer.append(bigEndian: bits)
    }
    if let capabilities = configuration.capabilities {
      try appendConfigurationPart(StreamConfiguration.PartName.capabilities)
      buffer.append(bigEndian: UInt32(capabilities.count))
      for name in capabilities { try appendText(name, "the name of a capability") }
    }
    if let uuid = configuration.uuid {
      guard uuid.count == 16 else {
        throw WireError(
          .notEncodable, at: 0, reading: "the guest's UUID", expected: "16 bytes",
          found: "\(uuid.count)")
      }
      try appendConfigurationPart(StreamConfiguration.PartName.uuid)
      buffer.append(contentsOf: uuid)
    }
  }

  /// The element that ends the sections of a stream.
  public mutating func appendEndOfStream() {
    buffer.append(ElementType.endOfStream.rawValue)
  }

  /// The description of the device state; QEMU is content with `{}`.
  public mutating func appendDescription(_ json: [UInt8] = Array("{}".utf8)) {
    buffer.append(ElementType.description.rawValue)
    buffer.append(bigEndian: UInt32(json.count))
    buffer.append(contentsOf: json)
  }

  /// Bytes that are in the format already: FULL sections taken from another stream.
  public mutating func append(verbatim bytes: [UInt8]) {
    buffer.append(contentsOf: bytes)
  }

  private mutating func appendConfigurationPart(_ name: String) throws(WireError) {
    buffer.append(ElementType.subsection.rawValue)
    try appendText(name, "the name of a part of the configuration")
    buffer.append(bigEndian: UInt32(1))
  }

  /// Appends text with its length before it; `what` names it in an error.
  mutating func appendText(_ text: String, _ what: String) throws(WireError) {
    try CountedText(text, what).append(to: &buffer)
  }

  /// Makes `names` the blocks that page addresses refer to; the next record names its block.
  mutating func setBlocks(_ names: [String]) {
    blockNames = names
    namedBlock = nil
  }

  /// Makes the next page record name its block: after a switch to postcopy, and in a recovery.
  public mutating func forgetNamedBlock() {
    namedBlock = nil
  }
}

/// What every stream begins with.
enum StreamHeader {
  static let magic: UInt32 = 0x5145_564d
  static let version: UInt32 = 3
  static let obsoleteVersion: UInt32 = 2
}

extension StreamConfiguration {
  /// The names of the section's optional parts on the wire.
  enum PartName {
    static let prefix = "configuration/"
    static let targetPageBits = "configuration/target-page-bits"
    static let capabilities = "configuration/capabilities"
    static let uuid = "configuration/uuid"
  }
}
