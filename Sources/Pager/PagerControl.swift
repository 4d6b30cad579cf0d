// One end of the link between a machine and its pager.

internal import Synchronization
internal import Transport

/// Sends and receives messages, with their descriptors.
///
/// Any thread may send; one receives.
final class PagerControl: Sendable {
  private let channel: ByteChannel
  private let sending = Mutex(())

  private struct Received: Sendable {
    var frames = PagerFrames()
    /// Descriptors that came before the frames that they belong to were whole.
    var descriptors: [Int32] = []
  }

  private let received = Mutex(Received())

  /// The most descriptors that wait for their messages: each has one, and few fit into a reading.
  private static let waitingDescriptorLimit = 64

  init(_ descriptor: consuming OwnedDescriptor, peer: String) throws(TransportError) {
    channel = try ByteChannel(adopting: descriptor, peer: peer)
  }

  deinit {
    for number in received.withLock({ $0.descriptors }) { _ = OwnedDescriptor(adopting: number) }
  }

  /// Sends a message.
  ///
  /// - Parameter descriptor: goes along where the message has one; stays open here.
  func send(_ message: PagerMessage, passing descriptor: Int32? = nil) throws(TransportError) {
    precondition(message.carriesDescriptor == (descriptor != nil), "a descriptor where one belongs")
    let frame = PagerFrames.encode(message)
    let result = sending.withLock { _ -> Result<Void, TransportError> in
      Result { () throws(TransportError) in
        if let descriptor {
          try channel.write(frame, passing: descriptor)
        } else {
          try channel.write(frame)
        }
      }
    }
    try result.get()
  }

  /// Waits for the next message; nil at the end of the link.
  ///
  /// - Returns: the message, and the descriptor that came with it, which the caller now owns.
  func receive() throws -> (message: PagerMessage, descriptor: Int32?)? {
    try received.withLock { received in
      while true {
        if let (message, hasDescriptor) = try received.frames.next() {
          guard hasDescriptor else { return (message, nil) }
          guard !received.descriptors.isEmpty else {
            throw PagerError.protocolViolation("a descriptor was announced and none came")
          }
          return (message, received.descriptors.removeFirst())
        }
        let (bytes, descriptor) = try channel.readWithDescriptor(atMost: 64 << 10)
        if let descriptor {
          received.descriptors.append(descriptor)
          guard received.descriptors.count <= Self.waitingDescriptorLimit else {
            throw PagerError.protocolViolation("descriptors come without messages")
          }
        }
        guard !bytes.isEmpty else { return nil }
        received.frames.feed(bytes)
      }
    }
  }

  /// Ends the link from any thread.
  func close() { channel.shutdownBoth() }
}
