// Who is at the other end of a Unix socket.

import CLinux

extension ByteChannel {
  /// The process that connected to, listened at or was born with the other end of a Unix socket,
  /// as the kernel recorded it then; nil for every other kind of channel.
  public var peerProcess: Int32? {
    guard isSocket else { return nil }
    let process = godwit_peer_process(descriptors.input)
    return process > 0 ? process : nil
  }

  /// A second descriptor for the channel's input, close-on-exec; for a socket, for both ways.
  public func duplicateDescriptor() throws(TransportError) -> OwnedDescriptor {
    try OwnedDescriptor.duplicate(of: descriptors.input)
  }
}
