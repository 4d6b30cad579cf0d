// What answers where there are registers instead of memory.

/// The registers of a device in the guest's memory.
///
/// Called on vCPU threads, several at a time; offset and size are the guest's and can be any
/// inside the region.
public protocol MMIOHandler: AnyObject, Sendable {
  /// Reads registers.
  /// - Parameters:
  ///   - offset: bytes from the region's beginning.
  ///   - byteCount: 1, 2, 4 or 8; the access lies inside the region but may be unaligned.
  /// - Returns: the value, its lowest byte being the first in memory; bytes above are ignored.
  func read(offset: UInt64, byteCount: Int) -> UInt64

  /// Writes registers; the parameters are those of `read`, and the bytes above `value`'s are 0.
  func write(offset: UInt64, byteCount: Int, value: UInt64)
}
