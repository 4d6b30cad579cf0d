// Guest memory as arrays, for those who read little of it.

import GuestMemory

extension AddressSpace {
  /// A copy of memory.
  func bytes(at address: GuestAddress, byteCount: Int) throws(GuestMemoryError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: byteCount)
    var span = bytes.mutableSpan
    // SAFETY: every bit pattern that is written is a valid byte.
    var raw = unsafe span.mutableBytes
    try read(at: address, into: &raw)
    return bytes
  }
}
