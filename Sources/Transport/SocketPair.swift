// Two connected sockets, each to be taken by whoever uses it.

import Glibc

/// Two ends of one bidirectional Unix stream.
public struct SocketPair: ~Copyable {
  private var first: OwnedDescriptor?
  private var second: OwnedDescriptor?

  /// Creates both ends, close-on-exec.
  public init() throws(TransportError) {
    var ends: [Int32] = [-1, -1]
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    // SAFETY: the array has room for the two numbers.
    guard unsafe socketpair(AF_UNIX, type, 0, &ends) == 0 else {
      throw .failed(action: "Creating a pair of sockets", code: errno)
    }
    first = OwnedDescriptor(adopting: ends[0])
    second = OwnedDescriptor(adopting: ends[1])
  }

  /// Takes one of the ends that are left; a third call is a mistake of the program.
  public mutating func take() -> OwnedDescriptor {
    if let end = first.take() { return end }
    if let end = second.take() { return end }
    preconditionFailure("a pair has two ends")
  }
}
