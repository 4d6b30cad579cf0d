// Waiting for peers to connect.

import CLinux
import Glibc
import Synchronization

/// A socket that accepts connections; closes itself, and removes the Unix socket it created.
public final class Listener: Sendable {
  /// The address that peers connect to, with the real port where 0 was asked for.
  public let address: MigrationURI
  private let descriptor: OwnedDescriptor
  private let wake: WakeEvent
  /// Whether its address is another's to take.
  private let isClosed = Atomic<Bool>(false)

  /// Listens on a `tcp:` or `unix:` address.
  /// - Parameters:
  ///   - address: where; port 0 takes any free port.
  ///   - allowInsecure: whether other machines may reach the address.
  /// - Throws: ``TransportError``; `notLoopback` unless other machines were allowed.
  public init(_ address: MigrationURI, allowInsecure: Bool = false) throws(TransportError) {
    wake = try WakeEvent()
    switch address {
    case .unix(let path):
      descriptor = try Self.listen(try SocketAddress(path: path), address, mayReplace: path)
      self.address = address
    case .tcp(let host, let port):
      let candidates = try SocketAddress.resolve(host: host, port: port, forListening: true)
      if !allowInsecure, !candidates.allSatisfy(\.isLoopback) { throw .notLoopback("\(address)") }
      guard let first = candidates.first else {
        throw .unknownHost(host, reason: "it has no address")
      }
      descriptor = try Self.listen(first, address, mayReplace: nil)
      let actual = SocketAddress.local(of: descriptor.raw)?.port
      self.address = .tcp(host: host, port: actual ?? port)
    case .descriptor, .command, .file:
      throw .unsuitableURI("\(address)", reason: "only tcp: and unix: addresses can be listened on")
    }
  }

  deinit { removeFile() }

  /// Removes the Unix socket's file, once: what has its name later is another's.
  private func removeFile() {
    guard !isClosed.exchange(true, ordering: .acquiringAndReleasing) else { return }
    if case .unix(let path) = address { _ = unsafe unlink(path) }
  }

  /// Waits for a peer.
  /// - Parameter timeout: how long; nil waits for ever.
  /// - Throws: ``TransportError``: `timedOut`, `cancelled` or `failed`.
  public func accept(timeout: Duration? = nil) throws(TransportError) -> ByteChannel {
    let action = "Waiting for a connection to \(address)"
    let deadline = timeout.map { ContinuousClock.now + $0 }
    while true {
      switch SystemCall.wait(for: descriptor.raw, events: POLLIN, wake: wake, deadline: deadline) {
      case .ready: break
      case .woken: throw .cancelled(action: action)
      case .timedOut: throw .timedOut(action: action, after: timeout ?? .zero)
      case .failed(let code): throw .failed(action: action, code: code)
      }
      let number = godwit_accept(descriptor.raw)
      // Whoever was waiting may have gone again, or another thread was faster.
      if number == -EINTR || number == -ECONNABORTED || number == -EAGAIN { continue }
      guard number >= 0 else { throw .failed(action: action, code: -number) }
      if case .tcp = address { TCPOptions.sendAtOnce(number) }
      return try ByteChannel(
        adopting: OwnedDescriptor(adopting: number), peer: "the peer of \(address)")
    }
  }

  /// Ends present and future waits, from any thread.
  public func cancel() { wake.raise() }

  /// Refuses whoever connects from now on, and those who did and were not accepted, while somebody
  /// still holds the listener; ends waits as ``cancel()`` does, and leaves the address to others.
  public func close() {
    cancel()
    removeFile()
    _ = shutdown(descriptor.raw, Int32(SHUT_RDWR))
  }

  private static func listen(
    _ candidate: SocketAddress, _ address: MigrationURI, mayReplace path: String?
  ) throws(TransportError) -> OwnedDescriptor {
    let action = "Listening on \(address)"
    let descriptor = try candidate.makeSocket(action: action)
    let number = descriptor.raw
    setListenOptions(number, candidate.family)
    var result = bind(number, to: candidate)
    if result == -Int(EADDRINUSE), let path, isAbandoned(candidate) {
      _ = unsafe unlink(path)
      result = bind(number, to: candidate)
    }
    guard result >= 0 else { throw .failed(action: action, code: Int32(-result)) }
    guard Glibc.listen(number, 16) == 0 else { throw .failed(action: action, code: errno) }
    return descriptor
  }

  private static func setListenOptions(_ descriptor: Int32, _ family: Int32) {
    // A machine's memory passes here: the socket file belongs to its owner alone.
    if family == AF_UNIX {
      _ = fchmod(descriptor, 0o600)
      return
    }
    var one: Int32 = 1
    // SAFETY: the kernel reads the local.
    _ = unsafe setsockopt(
      descriptor, SOL_SOCKET, SO_REUSEADDR, &one, socklen_t(MemoryLayout<Int32>.size))
    // Accepting must not block when the peer that poll saw is gone again.
    _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
  }

  private static func bind(_ descriptor: Int32, to address: SocketAddress) -> Int {
    // SAFETY: the address is lent for the call.
    unsafe address.withPointer { pointer, length in
      SystemCall.repeating { unsafe Int(Glibc.bind(descriptor, pointer, length)) }
    }
  }

  /// Whether a Unix socket's file has nobody behind it any longer.
  private static func isAbandoned(_ address: SocketAddress) -> Bool {
    guard let probe = try? address.makeSocket(action: "") else { return false }
    let number = probe.raw
    // SAFETY: the address is lent for the call.
    let result = unsafe address.withPointer { pointer, length in
      SystemCall.repeating { unsafe Int(Glibc.connect(number, pointer, length)) }
    }
    return result == -Int(ECONNREFUSED)
  }
}
