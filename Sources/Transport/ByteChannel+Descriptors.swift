// Descriptors that travel over a Unix socket beside the bytes.

import CLinux
import Glibc
import Synchronization

extension ByteChannel {
  /// Writes all of the bytes and passes a descriptor with the first of them.
  /// - Parameters:
  ///   - bytes: at least one.
  ///   - descriptor: stays open here; the peer gets its own.
  /// - Throws: ``TransportError``; `unsuitableURI` where the channel is no Unix socket.
  public func write(_ bytes: [UInt8], passing descriptor: Int32) throws(TransportError) {
    precondition(!bytes.isEmpty, "a descriptor travels with a byte")
    guard !isWritingEnded.load(ordering: .acquiring) else { throw .writingEnded(peer: peer) }
    guard isUnixSocket else {
      throw .unsuitableURI(peer, reason: "descriptors travel over Unix sockets only")
    }
    var sent = -Int(EINTR)
    // SAFETY: the bytes are only read, during the call.
    unsafe bytes.withUnsafeBytes { memory in
      while sent == -Int(EINTR) {
        sent = unsafe godwit_send_descriptor(
          descriptors.output, memory.baseAddress, memory.count, descriptor)
      }
    }
    guard sent >= 0 else { throw failure("Passing a descriptor", "to", code: Int32(-sent)) }
    if sent < bytes.count { try write(Array(bytes[sent...])) }
  }

  /// Waits for bytes, and takes the descriptor that came with them, if one did.
  /// - Parameter byteCount: the most that is read, from 1.
  /// - Returns: the bytes (empty at the end of the stream) and the descriptor, which the caller
  ///   now owns.
  /// - Throws: ``TransportError``: `cancelled`, `peerGone` or `failed`.
  public func readWithDescriptor(
    atMost byteCount: Int
  ) throws(TransportError) -> (bytes: [UInt8], descriptor: Int32?) {
    var passed: Int32 = -1
    var received = -Int(EINTR)
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: byteCount) { memory, count in
      while received == -Int(EINTR) {
        // SAFETY: the memory is the new array's, writable for byteCount bytes.
        received = unsafe godwit_receive_descriptor(
          descriptors.input, memory.baseAddress, byteCount, &passed)
      }
      count = max(received, 0)
    }
    guard received >= 0 else { throw failure("Reading", "from", code: Int32(-received)) }
    if received == 0, wake.isRaised { throw failure("Reading", "from", code: ECANCELED) }
    return (bytes, passed >= 0 ? passed : nil)
  }

  /// A second descriptor of what is read from: of both directions where
  /// ``duplicateOutput()`` has none.
  ///
  /// For handing the channel to another process; forget it here then, or it never ends there.
  public func duplicateInput() throws(TransportError) -> OwnedDescriptor {
    try OwnedDescriptor.duplicate(of: descriptors.input)
  }

  /// A second descriptor of what is written to, where that is another; nil where it is the same.
  public func duplicateOutput() throws(TransportError) -> OwnedDescriptor? {
    guard descriptors.output != descriptors.input else { return nil }
    return try OwnedDescriptor.duplicate(of: descriptors.output)
  }

  /// Takes over two descriptors, one for each direction.
  /// - Parameters:
  ///   - input: read from.
  ///   - output: written to.
  ///   - peer: what messages call it.
  public convenience init(
    adoptingInput input: consuming OwnedDescriptor, output: consuming OwnedDescriptor,
    peer: String
  ) throws(TransportError) {
    let descriptors = ChannelDescriptors(input: input.release(), output: output.release())
    try descriptors.makeNonblocking(peer: peer)
    try self.init(descriptors, kind: .pipe, peer: peer, command: nil)
  }

  private var isUnixSocket: Bool {
    kind == .socket && SocketAddress.local(of: descriptors.output)?.family == AF_UNIX
  }
}
