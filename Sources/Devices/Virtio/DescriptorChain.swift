// A request as a driver lays it out: pieces of guest memory to read and pieces to write.

/// A piece of guest memory that a descriptor names; nothing is known of it but its numbers.
struct GuestSegment: Equatable, Sendable {
  var address: UInt64
  var byteCount: Int
}

/// The descriptors of one request, followed from its head and checked.
struct DescriptorChain: Equatable, Sendable {
  private static let hasNext: UInt16 = 1
  private static let isWritable: UInt16 = 2
  private static let isIndirect: UInt16 = 4
  private static let descriptorByteCount = 16

  /// The first descriptor's number, by which the request is handed back.
  let head: UInt16
  /// What the device reads, in order.
  private(set) var readable: [GuestSegment] = []
  /// What the device may write, in order.
  private(set) var writable: [GuestSegment] = []
  private(set) var readableByteCount = 0
  private(set) var writableByteCount = 0
  private var descriptorCount = 0

  /// Follows a chain through a queue's table.
  ///
  /// The descriptors are read once each; what the driver changes afterwards plays no part.
  init(
    head: UInt16, table: UInt64, size: UInt16, memory: DeviceMemory
  ) throws(RingFault) {
    self.head = head
    try follow(from: head, table: table, size: Int(size), memory: memory, isInner: false)
  }

  private mutating func follow(
    from first: UInt16, table: UInt64, size: Int, memory: DeviceMemory, isInner: Bool
  ) throws(RingFault) {
    var number = first
    var visited = 0
    while true {
      guard Int(number) < size else { throw .noSuchDescriptor(number) }
      visited += 1
      descriptorCount += 1
      guard visited <= size, descriptorCount <= VirtioLimits.chainDescriptorCount else {
        throw .endlessChain
      }
      let bytes = try memory.read(
        memory.offset(table, by: Int(number) * Self.descriptorByteCount),
        byteCount: Self.descriptorByteCount)
      let address = bytes.littleEndian(UInt64.self, at: 0)
      let length = bytes.littleEndian(UInt32.self, at: 8)
      let flags = bytes.littleEndian(UInt16.self, at: 12)
      if flags & Self.isIndirect != 0 {
        let count = Int(length) / Self.descriptorByteCount
        guard !isInner, flags & Self.hasNext == 0, count > 0,
          Int(length) % Self.descriptorByteCount == 0,
          count <= VirtioLimits.chainDescriptorCount
        else { throw .badIndirectTable }
        return try follow(from: 0, table: address, size: count, memory: memory, isInner: true)
      }
      try append(
        GuestSegment(address: address, byteCount: Int(length)),
        isWritable: flags & Self.isWritable != 0)
      guard flags & Self.hasNext != 0 else { return }
      number = bytes.littleEndian(UInt16.self, at: 14)
    }
  }

  private mutating func append(
    _ segment: GuestSegment, isWritable: Bool
  ) throws(RingFault) {
    guard readableByteCount + writableByteCount + segment.byteCount <= VirtioLimits.chainByteCount
    else { throw .oversizedChain }
    if isWritable {
      if segment.byteCount > 0 { writable.append(segment) }
      writableByteCount += segment.byteCount
    } else {
      guard writable.isEmpty else { throw .readableAfterWritable }
      if segment.byteCount > 0 { readable.append(segment) }
      readableByteCount += segment.byteCount
    }
  }
}

extension [GuestSegment] {
  /// The pieces that remain when the first `skipped` bytes are left out, `count` bytes at most.
  func slice(skipping skipped: Int, count: Int) -> [GuestSegment] {
    var result: [GuestSegment] = []
    var (skipped, rest) = (skipped, count)
    for segment in self where rest > 0 {
      if skipped >= segment.byteCount {
        skipped -= segment.byteCount
        continue
      }
      let share = Swift.min(segment.byteCount - skipped, rest)
      result.append(
        GuestSegment(address: segment.address &+ UInt64(skipped), byteCount: share))
      rest -= share
      skipped = 0
    }
    return result
  }
}
