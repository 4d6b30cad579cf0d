// How devices reach the guest's memory: whole accesses or none, little-endian, RAM only.

import GuestMemory

/// The guest's RAM as a device's addresses name it; every access is checked, and every write marks
/// its pages dirty.
struct DeviceMemory: Sendable {
  let space: AddressSpace

  init(_ space: AddressSpace) { self.space = space }

  /// The address so many bytes on.
  func offset(_ address: UInt64, by byteCount: Int) throws(RingFault) -> UInt64 {
    let (sum, overflow) = address.addingReportingOverflow(UInt64(byteCount))
    guard !overflow else { throw .outsideMemory(address: address, byteCount: byteCount) }
    return sum
  }

  /// Reads a little-endian number.
  func load<T: FixedWidthInteger & BitwiseCopyable & UnsignedInteger>(
    _: T.Type, at address: UInt64
  ) throws(RingFault) -> T {
    let count = MemoryLayout<T>.size
    var value: T = 0
    do throws(GuestMemoryError) {
      // SAFETY: the span covers the local, which outlives it.
      try unsafe withUnsafeMutableBytes(of: &value) { bytes throws(GuestMemoryError) in
        var span = unsafe MutableRawSpan(_unsafeBytes: bytes)
        try space.read(at: GuestAddress(address), into: &span)
      }
    } catch {
      throw .outsideMemory(address: address, byteCount: count)
    }
    return T(littleEndian: value)
  }

  /// Writes a little-endian number.
  func store<T: FixedWidthInteger & BitwiseCopyable & UnsignedInteger>(
    _ value: T, at address: UInt64
  ) throws(RingFault) {
    do throws(GuestMemoryError) {
      // SAFETY: the span covers the local, which outlives it.
      try unsafe withUnsafeBytes(of: value.littleEndian) { bytes throws(GuestMemoryError) in
        try space.write(at: GuestAddress(address), unsafe RawSpan(_unsafeBytes: bytes))
      }
    } catch {
      throw .outsideMemory(address: address, byteCount: MemoryLayout<T>.size)
    }
  }

  /// Reads bytes; how many is the caller's to bound.
  func read(_ address: UInt64, byteCount: Int) throws(RingFault) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: byteCount)
    do throws(GuestMemoryError) {
      var elements = bytes.mutableSpan
      // SAFETY: every value of a byte is a valid element.
      var span = unsafe elements.mutableBytes
      try space.read(at: GuestAddress(address), into: &span)
    } catch {
      throw .outsideMemory(address: address, byteCount: byteCount)
    }
    return bytes
  }

  /// Writes bytes.
  func write(_ bytes: [UInt8], at address: UInt64) throws(RingFault) {
    try write(bytes[...], at: address)
  }

  private func write(_ bytes: ArraySlice<UInt8>, at address: UInt64) throws(RingFault) {
    do throws(GuestMemoryError) {
      // SAFETY: the bytes have no padding.
      try space.write(at: GuestAddress(address), unsafe bytes.span.bytes)
    } catch {
      throw .outsideMemory(address: address, byteCount: bytes.count)
    }
  }

  /// The bytes of segments, one after the other; nil where one is not in RAM.
  func gather(_ segments: [GuestSegment]) -> [UInt8]? {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(segments.reduce(0) { $0 + $1.byteCount })
    for segment in segments {
      guard let part = try? read(segment.address, byteCount: segment.byteCount) else { return nil }
      bytes += part
    }
    return bytes
  }

  /// Writes bytes over segments, one after the other; false where one is not in RAM, or where
  /// there are more bytes than room.
  func scatter(_ bytes: [UInt8], to segments: [GuestSegment]) -> Bool {
    var rest = bytes[...]
    for segment in segments {
      if rest.isEmpty { break }
      let share = rest.prefix(segment.byteCount)
      do { try write(share, at: segment.address) } catch { return false }
      rest = rest.dropFirst(share.count)
    }
    return rest.isEmpty
  }

  /// The memory behind segments, in pieces, for transfers straight into and out of it; nil where
  /// some of it is not RAM.
  func pieces(of segments: [GuestSegment], toWrite: Bool) -> [MemoryPiece]? {
    let view = space.view
    var pieces: [MemoryPiece] = []
    for segment in segments {
      guard
        let more = try? view.pieces(
          toWrite ? .write : .read, at: GuestAddress(segment.address),
          byteCount: segment.byteCount)
      else { return nil }
      pieces += more
    }
    return pieces
  }
}
