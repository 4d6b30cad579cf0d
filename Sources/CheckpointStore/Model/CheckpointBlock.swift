// A RAM block as a checkpoint knows it.

/// One RAM block of a saved machine: its name and its size.
public struct CheckpointBlock: Hashable, Sendable {
  /// The block's name in the migration stream (`pc.ram`, `/rom@etc/acpi/tables`).
  public var name: String
  /// Used length in bytes, a multiple of 4096.
  public var byteCount: UInt64
  /// The page size of the block's backing on its host, in bytes (4096, or a huge page's size).
  public var pageSize: UInt64

  /// Makes a block of `byteCount` bytes.
  public init(name: String, byteCount: UInt64, pageSize: UInt64 = 4096) {
    self.name = name
    self.byteCount = byteCount
    self.pageSize = pageSize
  }
}
