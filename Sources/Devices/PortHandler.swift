// What answers the guest's port I/O.

/// A device behind a range of I/O ports.
///
/// The machine calls it on the thread of the vCPU that made the access, so an implementation never
/// waits for anything but its own short locks.
public protocol PortHandler: AnyObject, Sendable {
  /// Answers an input of 1, 2 or 4 bytes from the port `offset` above the range's first.
  func read(port offset: UInt16, byteCount: Int) -> UInt32

  /// Takes an output of 1, 2 or 4 bytes to the port `offset` above the range's first.
  func write(port offset: UInt16, byteCount: Int, value: UInt32)
}
