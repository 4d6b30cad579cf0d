// A file descriptor that has one owner and closes itself.

import Glibc

/// A file descriptor that is closed when its owner is done with it.
public struct OwnedDescriptor: ~Copyable, Sendable {
  /// The number, valid while this value lives.
  public let raw: Int32

  /// Takes over an open descriptor; nobody else may close it from here on.
  public init(adopting raw: Int32) {
    self.raw = raw
  }

  deinit {
    _ = Glibc.close(raw)
  }

  /// Gives the number up; the caller closes it.
  public consuming func release() -> Int32 {
    let number = raw
    discard self
    return number
  }

  /// A second descriptor for the same open file, close-on-exec.
  public borrowing func duplicate() throws(TransportError) -> OwnedDescriptor {
    let number = raw
    let copy = SystemCall.repeating { Int(fcntl(number, F_DUPFD_CLOEXEC, 3)) }
    guard copy >= 0 else {
      throw .failed(action: "Duplicating the descriptor \(number)", code: Int32(-copy))
    }
    return OwnedDescriptor(adopting: Int32(copy))
  }
}
