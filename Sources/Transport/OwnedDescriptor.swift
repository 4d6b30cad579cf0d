// A file descriptor that has one owner and closes itself.

import Glibc

/// A file descriptor that is closed when its owner is done with it.
public struct OwnedDescriptor: ~Copyable, Sendable {
  /// Duplicates get numbers from here on, clear of those a started process finds its own under.
  private static let firstDuplicate: Int32 = 16

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
    try Self.duplicate(of: raw)
  }

  /// A second descriptor for the open file that a number, owned elsewhere, stands for.
  static func duplicate(of number: Int32) throws(TransportError) -> OwnedDescriptor {
    let copy = SystemCall.repeating { Int(fcntl(number, F_DUPFD_CLOEXEC, Self.firstDuplicate)) }
    guard copy >= 0 else {
      throw .failed(action: "Duplicating the descriptor \(number)", code: Int32(-copy))
    }
    return OwnedDescriptor(adopting: Int32(copy))
  }
}
