// What a driver can do wrong with its queues.

/// Why a queue cannot be worked on any further, until its driver resets the device.
enum RingFault: Error, Equatable, Sendable {
  /// An address, or some byte after it, is not in the guest's RAM.
  case outsideMemory(address: UInt64, byteCount: Int)
  /// More entries are said to be available than the queue has.
  case tooManyAvailable(UInt16)
  /// A descriptor's number is beyond its table.
  case noSuchDescriptor(UInt16)
  /// A chain has more descriptors than a queue or a table holds: it goes round in circles.
  case endlessChain
  /// A chain names more bytes than a request can have.
  case oversizedChain
  /// An indirect table is empty, of no whole number of entries, too large, or nested.
  case badIndirectTable
  /// What the device reads follows what it writes, in one chain.
  case readableAfterWritable
  /// A request lacks the part that the device has to read or write.
  case malformedRequest
}

/// Limits on what a driver may ask for at once.
enum VirtioLimits {
  /// Entries of the largest queue that any device here offers.
  static let queueSize: UInt16 = 256
  /// Descriptors of one chain, those of an indirect table included.
  static let chainDescriptorCount = 1024
  /// Bytes of one chain.
  static let chainByteCount = 1 << 30
  /// Random bytes given for one request; the rest of its room stays unused.
  static let entropyByteCount = 64 << 10
  /// Bytes of a frame with its header: the largest that segmentation offload makes.
  static let frameByteCount = 65_562
  /// Bytes of console output taken from one request at a time.
  static let consoleByteCount = 64 << 10
  /// Ranges of one discard request, and sectors of each.
  static let discardRangeCount = 32
  static let discardSectorCount: UInt32 = 1 << 21
  /// Sectors of one write-zeroes request: few enough to be written within a moment where the file
  /// system knows no quicker way.
  static let zeroSectorCount: UInt32 = 1 << 16
  /// Page numbers of one inflate request.
  static let balloonPageCount = 64 << 10
  /// Bytes of a balloon's statistics.
  static let statisticsByteCount = 4096
}
