// A connection that breaks at an exact byte.

import Glibc
import Transport

/// Two ends with a relay between them that lets so many bytes pass to the second, and then ends
/// both.
final class CutLink {
  /// Where the source writes.
  let source: ByteChannel
  /// Where the destination reads.
  let destination: ByteChannel
  private let threads: [NamedThread]

  /// - Parameters:
  ///   - byteCount: how many bytes pass.
  ///   - counts: bytes count from when this says so.
  init(
    cutAfter byteCount: Int, once counts: @escaping @Sendable () -> Bool = { true }
  ) throws {
    let (source, near) = try ByteChannel.pair()
    let (far, destination) = try ByteChannel.pair()
    self.source = source
    self.destination = destination
    threads = [
      try NamedThread(name: "forth") {
        var left = byteCount
        while left > 0, let bytes = try? near.read(atMost: min(left, 512)), !bytes.isEmpty {
          guard (try? far.write(bytes)) != nil else { break }
          if counts() { left -= bytes.count }
          // What has passed is to have been read before the link breaks.
          usleep(300)
        }
        if left > 0 { try? far.shutdownWrite() } else { far.shutdownBoth() }
        if left <= 0 { near.shutdownBoth() }
      },
      try NamedThread(name: "back") {
        while let bytes = try? far.read(atMost: 4096), !bytes.isEmpty {
          guard (try? near.write(bytes)) != nil else { break }
        }
        near.shutdownBoth()
      },
    ]
  }

  /// Ends what is left of it, and waits for the relay.
  func end() {
    source.shutdownBoth()
    destination.shutdownBoth()
    for thread in threads { thread.join() }
  }
}
