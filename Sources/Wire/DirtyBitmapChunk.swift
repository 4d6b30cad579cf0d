// DirtyBitmapChunk.swift: the records of a dirty-bitmap section.

/// One record of a dirty-bitmap section (the block layer's bitmaps, not the RAM's).
public struct DirtyBitmapChunk: Equatable, Hashable, Sendable {
  /// What a record says of its bitmap.
  public enum Content: Equatable, Hashable, Sendable {
    /// A bitmap begins. `granularity` is in bytes; of `flags`, bit 0 says that it is enabled,
    /// bit 1 that it is persistent.
    case start(granularity: UInt32, flags: UInt8)
    /// Part of a bitmap, little-endian, one bit per granularity; `sector` and `sectorCount` are
    /// in units of 512 bytes. `nil` means that all of them are clear.
    case bits(sector: UInt64, sectorCount: UInt32, data: [UInt8]?)
    /// The bitmap is complete.
    case complete
    /// Nothing but what the flags say.
    case none
  }

  /// The block node that the bitmap belongs to; `nil` where it is the previous record's.
  public var node: String?
  /// The bitmap's name; `nil` where it is the previous record's.
  public var bitmap: String?
  /// What the record says.
  public var content: Content
  /// Whether the record is the last of its part.
  public var endsSection: Bool

  /// Makes a record.
  public init(node: String?, bitmap: String?, content: Content, endsSection: Bool) {
    self.node = node
    self.bitmap = bitmap
    self.content = content
    self.endsSection = endsSection
  }
}

extension DirtyBitmapChunk {
  /// The flags of a record on the wire.
  enum Flag {
    static let endOfSection: UInt8 = 0x01
    static let zeroes: UInt8 = 0x02
    static let bitmapName: UInt8 = 0x04
    static let nodeName: UInt8 = 0x08
    static let start: UInt8 = 0x10
    static let complete: UInt8 = 0x20
    static let bits: UInt8 = 0x40
    static let wider: UInt8 = 0x80
  }
}
