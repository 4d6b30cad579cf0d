// A link between two processes that a test can cut at any instant.

import Foundation
import Glibc
import QEMULab
import Synchronization

/// Listens on a Unix socket and relays its connections to another, until it is cut or the first of
/// them ends.
///
/// A descriptor is closed and forgotten in one step, so that a cut never hits what got its number.
final class CutProxy: Sendable {
  /// Where the source connects.
  let path = NSTemporaryDirectory() + "gwcut-\(UUID().uuidString.prefix(8))"
  private let target: String
  private let ends: Mutex<Ends>

  private struct Ends {
    /// Nil once it is closed: its number may be somebody else's by then.
    var listener: Int32?
    var descriptors: [Int32] = []
    var isCut = false
    var hasReached = false
  }

  /// Whether the destination was ever connected to.
  var hasReachedTarget: Bool { ends.withLock { $0.hasReached } }

  /// - Parameter target: the socket that the destination listens on.
  init(to target: String) throws {
    self.target = target
    let listener = try Self.withAddress(path) { descriptor, address, size in
      bind(descriptor, address, size) == 0 && listen(descriptor, 2) == 0
    }
    ends = Mutex(Ends(listener: listener))
    Thread.detachNewThread { [self] in relay(listener) }
  }

  deinit {
    cut()
    try? FileManager.default.removeItem(atPath: path)
  }

  /// Breaks the link, both ways; what is under way in here is lost.
  func cut() {
    ends.withLock { ends in
      ends.isCut = true
      // A thread that waits to accept has to hear of it too.
      if let listener = ends.listener { shutdown(listener, Int32(SHUT_RDWR)) }
      for descriptor in ends.descriptors { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }
  }

  private func relay(_ listener: Int32) {
    while case let near = accept(listener, nil, nil), near >= 0 {
      Thread.detachNewThread { [self] in
        connect(near)
        stopListening()
      }
    }
    ends.withLock { ends in
      ends.listener = nil
      close(listener)
    }
  }

  /// Has the thread that accepts connections end.
  private func stopListening() {
    ends.withLock { ends in
      if let listener = ends.listener { shutdown(listener, Int32(SHUT_RDWR)) }
    }
  }

  /// Relays one connection to its end.
  private func connect(_ near: Int32) {
    let far = try? Self.withAddress(target) { Glibc.connect($0, $1, $2) == 0 }
    let isWhole = ends.withLock { ends in
      guard let far else { return false }
      ends.hasReached = true
      guard !ends.isCut else { return false }
      ends.descriptors += [near, far]
      return true
    }
    if let far, isWhole {
      let back = DispatchSemaphore(value: 0)
      Thread.detachNewThread {
        Self.copy(from: far, to: near)
        back.signal()
      }
      Self.copy(from: near, to: far)
      back.wait()
    }
    ends.withLock { ends in
      let own = [near, far].compactMap { $0 }
      ends.descriptors.removeAll { own.contains($0) }
      for descriptor in own { close(descriptor) }
    }
  }

  /// Copies until the end, and passes that on.
  private static func copy(from source: Int32, to target: Int32) {
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    copying: while true {
      let count = read(source, &buffer, buffer.count)
      guard count > 0 else { break }
      var sent = 0
      while sent < count {
        let step = buffer.withUnsafeBytes {
          send(target, $0.baseAddress! + sent, count - sent, Int32(MSG_NOSIGNAL))
        }
        guard step > 0 else { break copying }
        sent += step
      }
    }
    shutdown(target, Int32(SHUT_WR))
  }

  /// Makes a socket and does something with it and an address.
  private static func withAddress(
    _ path: String, _ body: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Bool
  ) throws -> Int32 {
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard path.utf8.count < MemoryLayout.size(ofValue: address.sun_path) else {
      throw LabError("the socket path is too long: \(path)")
    }
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
    let size = socklen_t(MemoryLayout<sockaddr_un>.size)
    let isDone = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body(descriptor, $0, size) }
    }
    guard isDone else {
      close(descriptor)
      throw LabError("no socket at \(path): error \(errno)")
    }
    return descriptor
  }
}
