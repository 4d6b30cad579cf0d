// Limits.swift: every bound on what a peer's bytes may make this module hold or repeat.

/// The bounds that decoding keeps to whatever its input says.
///
/// Nothing is allocated because a length was announced: memory grows with the bytes that have
/// arrived, and stops at these figures. Sizes are in bytes.
public struct WireLimits: Equatable, Sendable {
  /// The longest machine type name in a configuration section.
  public var machineNameSize = 1024
  /// The most capability names in a configuration section.
  public var capabilityCount = 256
  /// The most RAM blocks in one announcement.
  public var blockCount = 4096
  /// The most sections that one stream may start.
  public var sectionCount = 4096
  /// The largest packaged blob of a postcopy stream.
  public var packageSize = 128 << 20
  /// The largest device tail, and the largest section whose layout is not known.
  public var deviceStateSize = 128 << 20
  /// The largest vmdescription.
  public var descriptionSize = 16 << 20
  /// The most places in a device tail that may look like its end; a real one has one.
  public var tailCandidateCount = 16
  /// The most values in a vmdescription.
  public var descriptionValueCount = 2 << 20
  /// The deepest nesting of a vmdescription.
  public var descriptionDepth = 128
  /// The largest bitmap in one chunk of a dirty-bitmap section.
  public var bitmapChunkSize = 16 << 20
  /// The largest bitmap of received pages on the return path (one bit a page).
  public var receivedBitmapSize = 1 << 30
  /// The most values that one device's fields are decoded into.
  public var fieldCount = 1 << 20

  /// The limits that suit every machine QEMU is known to run.
  public init() {}
}

/// Sizes that the format itself fixes, in bytes.
enum WireSize {
  /// The smallest target page, and so the room that flags have in a RAM record.
  static let smallestPageBits: UInt32 = 10
  /// The largest target page that is believed.
  static let largestPageBits: UInt32 = 16
  /// What is taken at one time by a search for the end of something, so that little is left over.
  static let searchStep = 16 << 10
  /// A page's hash in a RAM record (SHA-256).
  static let pageHash = 32
  /// The payload of a globalstate section: a length and a padded name.
  static let globalState = 104
}
