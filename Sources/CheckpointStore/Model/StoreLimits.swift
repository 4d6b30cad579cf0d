// Every bound on what is read from a file or asked by a caller, in one place.

/// Bounds that a caller's request or a file's content must keep.
enum StoreLimits {
  /// Format of the store as a whole.
  static let format: UInt32 = 1
  /// RAM blocks of one checkpoint.
  static let blocks = 4096
  /// Bytes of a block's name: the stream carries its length in one byte.
  static let blockNameBytes = 255
  /// Bytes of a checkpoint's name.
  static let nameBytes = 128
  /// Bytes of a checkpoint's RAM, all blocks together: 1 PiB.
  static let ramBytes: UInt64 = 1 << 50
  /// Bytes of device state, configuration, description and metadata together: 1 GiB.
  static let stateBytes = 1 << 30
  /// Bytes of a demand order: 64 MiB.
  static let demandRecordBytes = 1 << 26
}
