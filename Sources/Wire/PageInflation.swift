// PageInflation.swift: the one call into zlib: a compressed page back into a whole one.

internal import CZlib

extension [UInt8] {
  /// Overwrites the array with what `source`, a zlib stream, expands to.
  ///
  /// Gives zlib's status and the number of bytes that were written.
  mutating func inflate(_ source: RawSpan) -> (status: CInt, size: Int) {
    var size = uLong(count)
    // SAFETY: both pointers are used during the call only, with the lengths of their buffers.
    let status = unsafe withUnsafeMutableBufferPointer { target in
      unsafe source.withUnsafeBytes { bytes in
        unsafe uncompress(
          target.baseAddress, &size, bytes.baseAddress?.assumingMemoryBound(to: UInt8.self),
          uLong(bytes.count))
      }
    }
    return (status, Int(size))
  }
}
