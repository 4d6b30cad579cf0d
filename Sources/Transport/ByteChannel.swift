// A stream of bytes to and from a peer, for threads that may block.

import CLinux
import Glibc
import Synchronization

/// A stream of bytes over a socket, a pair of pipes or a file.
///
/// One thread may read while another writes; a third may end either with ``shutdownBoth()``. Two
/// threads must not read, or write, at the same time. The channel closes itself when nobody holds
/// it any longer.
public final class ByteChannel: Sendable {
  /// What the channel is for messages to a person, such as `tcp:127.0.0.1:4444`.
  public let peer: String
  /// What the kernel does with it.
  let kind: Kind
  let descriptors: ChannelDescriptors
  let wake: WakeEvent
  let isWritingEnded = Atomic<Bool>(false)
  let command: ChildCommand?

  /// What decides which system calls suit a channel.
  enum Kind: Equatable, Sendable { case socket, pipe, file }

  /// Takes over an open descriptor of any kind.
  /// - Parameters:
  ///   - descriptor: read from and written to.
  ///   - peer: what messages call it.
  public convenience init(
    adopting descriptor: consuming OwnedDescriptor, peer: String
  ) throws(TransportError) {
    let descriptors = ChannelDescriptors(both: descriptor.release())
    let kind = try Self.kind(of: descriptors.input, peer: peer)
    if kind == .pipe { try descriptors.makeNonblocking(peer: peer) }
    try self.init(descriptors, kind: kind, peer: peer, command: nil)
  }

  init(
    _ descriptors: consuming ChannelDescriptors, kind: Kind, peer: String, command: ChildCommand?
  ) throws(TransportError) {
    if kind == .pipe { BrokenPipeSignal.ignore() }
    self.wake = try WakeEvent()
    self.descriptors = descriptors
    self.kind = kind
    self.peer = peer
    self.command = command
  }

  /// Whether this is a socket: only those tell how much of what was written is still unsent.
  public var isSocket: Bool { kind == .socket }

  /// Two channels connected to each other.
  /// - Parameter peers: what messages call the other end, seen from the first and from the second.
  public static func pair(
    peers: (String, String) = ("the second end", "the first end")
  ) throws(TransportError) -> (ByteChannel, ByteChannel) {
    var ends = try SocketPair()
    let first = try ByteChannel(adopting: ends.take(), peer: peers.0)
    return (first, try ByteChannel(adopting: ends.take(), peer: peers.1))
  }

  private static func kind(of descriptor: Int32, peer: String) throws(TransportError) -> Kind {
    var status = stat()
    // SAFETY: the kernel fills the local structure.
    guard unsafe fstat(descriptor, &status) == 0 else {
      throw .failed(action: "Using \(peer)", code: errno)
    }
    switch status.st_mode & S_IFMT {
    case S_IFSOCK: return .socket
    case S_IFREG, S_IFBLK: return .file
    default: return .pipe
    }
  }

  /// The error for a failed call, unless the channel was cancelled meanwhile.
  func failure(_ verb: String, _ preposition: String, code: Int32) -> TransportError {
    let action = "\(verb) \(preposition) \(peer)"
    if wake.isRaised { return .cancelled(action: action) }
    if SystemCall.meansPeerGone(code) {
      if let command, let exit = command.exitAfterClosing() {
        return .commandFailed(command: command.text, exit: exit)
      }
      return .peerGone(action: action)
    }
    return .failed(action: action, code: code)
  }
}

/// The one or two descriptors of a channel.
struct ChannelDescriptors: ~Copyable, Sendable {
  /// Read from.
  let input: Int32
  /// Written to; may be the same.
  let output: Int32

  init(both descriptor: Int32) {
    input = descriptor
    output = descriptor
  }

  init(input: Int32, output: Int32) {
    self.input = input
    self.output = output
  }

  deinit {
    _ = Glibc.close(input)
    if output != input { _ = Glibc.close(output) }
  }

  /// Lets waits on a pipe or terminal be ended: a blocked write to one cannot be.
  borrowing func makeNonblocking(peer: String) throws(TransportError) {
    try Self.makeNonblocking(input, peer: peer)
    if output != input { try Self.makeNonblocking(output, peer: peer) }
  }

  private static func makeNonblocking(_ descriptor: Int32, peer: String) throws(TransportError) {
    let flags = fcntl(descriptor, F_GETFL)
    guard flags >= 0 else { throw .failed(action: "Using \(peer)", code: errno) }
    // Opened anew where possible: the flag belongs to the open file, which an inherited
    // descriptor shares with whoever passed it.
    let mode = flags & (O_ACCMODE | O_APPEND)
    let anew = unsafe open("/proc/self/fd/\(descriptor)", mode | O_NONBLOCK | O_CLOEXEC)
    if anew >= 0 {
      defer { _ = Glibc.close(anew) }
      if godwit_replace_descriptor(anew, descriptor) >= 0 { return }
    }
    guard fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0 else {
      throw .failed(action: "Using \(peer)", code: errno)
    }
  }
}

/// The signal that ends a process which writes to a pipe without a reader.
enum BrokenPipeSignal {
  // Sockets have a flag against it, pipes have not: the process ignores it from the first pipe on,
  // and commands are started with the default again.
  private static let ignored: Void = {
    _ = signal(SIGPIPE, SIG_IGN)
  }()

  static func ignore() { ignored }
}
