// A relay between two machines that counts what passes over each of their connections, and cuts the
// one that a test names.

import Synchronization
import Transport

/// Takes connections at an address of its own and leads each to another address.
final class TwoWayRelay: Sendable {
  private struct Link {
    let near: ByteChannel
    let far: ByteChannel
    var byteCount = 0
  }

  /// Where it listens.
  let address: MigrationURI
  private let listener: Listener
  private let links = Mutex<[Link]>([])

  /// - Parameters:
  ///   - address: where to listen; port 0 takes any.
  ///   - target: where connections lead.
  init(at address: MigrationURI, to target: MigrationURI) throws {
    listener = try Listener(address)
    self.address = listener.address
    _ = try NamedThread(name: "relay") { [weak self, listener] in
      while let near = try? listener.accept() {
        // One that is refused there is refused here.
        guard let self, let far = try? ByteChannel.connect(to: target) else { continue }
        try? self.join(near, far)
      }
    }
  }

  deinit { end() }

  /// How many bytes each connection has carried forth, in the order in which they were made.
  var byteCounts: [Int] { links.withLock { $0.map(\.byteCount) } }

  /// Breaks a connection.
  func cut(_ index: Int) {
    guard let link = links.withLock({ $0.indices.contains(index) ? $0[index] : nil }) else {
      return
    }
    link.near.shutdownBoth()
    link.far.shutdownBoth()
  }

  /// Breaks all, and takes no more.
  func end() {
    listener.close()
    for index in links.withLock({ $0.indices }) { cut(index) }
  }

  private func join(_ near: ByteChannel, _ far: ByteChannel) throws {
    let index = links.withLock { links in
      links.append(Link(near: near, far: far))
      return links.count - 1
    }
    _ = try NamedThread(name: "forth") { [weak self] in
      while let bytes = try? near.read(atMost: 64 << 10), !bytes.isEmpty {
        guard (try? far.write(bytes)) != nil else { break }
        self?.links.withLock { $0[index].byteCount += bytes.count }
      }
      far.shutdownBoth()
    }
    _ = try NamedThread(name: "back") {
      while let bytes = try? far.read(atMost: 4096), !bytes.isEmpty {
        guard (try? near.write(bytes)) != nil else { break }
      }
      near.shutdownBoth()
    }
  }
}
