// Opening a channel by its address.

import CLinux
import Glibc

/// What a channel is opened for; files and commands behave differently by it.
public enum ChannelPurpose: Sendable {
  /// Only to be read.
  case reading
  /// Only to be written.
  case writing
  /// Both: a stream and its return path.
  case both
}

extension ByteChannel {
  /// Connects to a peer that listens, starts a command or opens a file.
  /// - Parameters:
  ///   - address: where to.
  ///   - purpose: a file is created for writing (cut off at its offset) and must exist for reading;
  ///     it has no return path.
  ///   - timeout: how long a connection may take, and the other end of a named pipe to come;
  ///     opening any other file takes as long as it takes.
  /// - Throws: ``TransportError``.
  public static func connect(
    to address: MigrationURI, for purpose: ChannelPurpose = .both, timeout: Duration = .seconds(10)
  ) throws(TransportError) -> ByteChannel {
    let deadline = ContinuousClock.now + timeout
    switch address {
    case .tcp(let host, let port):
      let candidates = try SocketAddress.resolve(
        host: host.isEmpty ? "localhost" : host, port: port, forListening: false)
      var failure = TransportError.unknownHost(host, reason: "it has no address")
      for candidate in candidates {
        do throws(TransportError) {
          return try connect(candidate, address, timeout, deadline)
        } catch {
          failure = error
        }
      }
      throw failure
    case .unix(let path):
      return try connect(try SocketAddress(path: path), address, timeout, deadline)
    case .descriptor(let number):
      guard fcntl(number, F_GETFD) >= 0 else {
        throw .failed(action: "Using \(address)", code: errno)
      }
      return try ByteChannel(adopting: OwnedDescriptor(adopting: number), peer: "\(address)")
    case .command(let text):
      return try start(text, peer: "\(address)")
    case .file(let path, let offset):
      return try open(path, offset, purpose, address, timeout)
    }
  }

  private static func connect(
    _ candidate: SocketAddress, _ address: MigrationURI, _ timeout: Duration,
    _ deadline: ContinuousClock.Instant
  ) throws(TransportError) -> ByteChannel {
    let action = "Connecting to \(address)"
    let descriptor = try candidate.makeSocket(action: action)
    let number = descriptor.raw
    setFlag(number, O_NONBLOCK, true)
    // A Unix socket answers EAGAIN while the listener's queue is full, and there is nothing to
    // wait on then but time.
    var result = -Int(EAGAIN)
    while true {
      // SAFETY: the address is lent for the call.
      result = unsafe candidate.withPointer { pointer, length in
        SystemCall.repeating { unsafe Int(Glibc.connect(number, pointer, length)) }
      }
      guard result == -Int(EAGAIN) else { break }
      guard ContinuousClock.now < deadline else { throw .timedOut(action: action, after: timeout) }
      usleep(10_000)
    }
    if result == -Int(EINPROGRESS) {
      let wake = try WakeEvent()
      switch SystemCall.wait(for: number, events: POLLOUT, wake: wake, deadline: deadline) {
      case .ready, .woken: result = -Int(pendingError(of: number))
      case .timedOut: throw .timedOut(action: action, after: timeout)
      case .failed(let code): result = -Int(code)
      }
    }
    guard result >= 0 else { throw .failed(action: action, code: Int32(-result)) }
    setFlag(number, O_NONBLOCK, false)
    if candidate.family != AF_UNIX {
      TCPOptions.sendAtOnce(number)
      if SocketAddress.local(of: number)?.isOnSameHost(as: candidate) == true {
        TCPOptions.queueLittle(number)
      }
    }
    return try ByteChannel(adopting: descriptor, peer: "\(address)")
  }

  private static func setFlag(_ descriptor: Int32, _ flag: Int32, _ isSet: Bool) {
    let flags = fcntl(descriptor, F_GETFL)
    _ = fcntl(descriptor, F_SETFL, isSet ? flags | flag : flags & ~flag)
  }

  private static func pendingError(of descriptor: Int32) -> Int32 {
    var code: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    // SAFETY: the kernel writes at most `length` bytes to the local.
    guard unsafe getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &length) == 0 else {
      return errno
    }
    return code
  }

  private static func start(_ text: String, peer: String) throws(TransportError) -> ByteChannel {
    let toCommand = try Pipe(), fromCommand = try Pipe()
    let command = try ChildCommand.start(
      text, input: toCommand.readEnd.raw, output: fromCommand.writeEnd.raw)
    let input = try fromCommand.readEnd.duplicate()
    let output = try toCommand.writeEnd.duplicate()
    let descriptors = ChannelDescriptors(input: input.release(), output: output.release())
    try descriptors.makeNonblocking(peer: peer)
    return try ByteChannel(descriptors, kind: .pipe, peer: peer, command: command)
  }

  private static func open(
    _ path: String, _ offset: UInt64, _ purpose: ChannelPurpose, _ address: MigrationURI,
    _ timeout: Duration
  ) throws(TransportError) -> ByteChannel {
    let flags: Int32
    switch purpose {
    case .reading: flags = O_RDONLY | O_CLOEXEC
    case .writing: flags = O_WRONLY | O_CREAT | O_CLOEXEC
    case .both:
      throw .unsuitableURI(
        "\(address)", reason: "a file has no return path; use a socket or a command")
    }
    guard let position = Int(exactly: offset) else {
      throw .unsuitableURI("\(address)", reason: "the offset is beyond the largest file")
    }
    let action = purpose == .reading ? "Opening \(path)" : "Creating \(path)"
    let deadline = ContinuousClock.now + timeout
    let number = try descriptor(of: path, flags, action, timeout)
    let channel = try ByteChannel(
      adopting: OwnedDescriptor(adopting: number), peer: "\(address)")
    guard channel.kind == .file else {
      // Before anybody has written, a pipe looks as if everything had been read.
      if purpose == .reading {
        _ = SystemCall.wait(
          for: channel.descriptors.input, events: POLLIN, wake: channel.wake, deadline: deadline)
      }
      return channel
    }
    setFlag(number, O_NONBLOCK, false)
    // Devices cannot be cut off, and need not be.
    if purpose == .writing, ftruncate(number, position) != 0, errno != EINVAL {
      throw .failed(action: action, code: errno)
    }
    guard lseek(number, position, SEEK_SET) >= 0 else {
      throw .failed(action: action, code: errno)
    }
    return channel
  }
}

extension ByteChannel {
  /// Opens a file, and waits for the reader of a named pipe where there is none, as nobody could
  /// end the wait of the system call itself.
  private static func descriptor(
    of path: String, _ flags: Int32, _ action: String, _ timeout: Duration
  ) throws(TransportError) -> Int32 {
    let deadline = ContinuousClock.now + timeout
    while true {
      let number = SystemCall.repeating { unsafe Int(Glibc.open(path, flags | O_NONBLOCK, 0o600)) }
      if number >= 0 { return Int32(number) }
      guard number == -Int(ENXIO), isNamedPipe(path) else {
        throw .failed(action: action, code: Int32(-number))
      }
      guard ContinuousClock.now < deadline else { throw .timedOut(action: action, after: timeout) }
      usleep(10_000)
    }
  }

  private static func isNamedPipe(_ path: String) -> Bool {
    var status = stat()
    // SAFETY: the kernel fills the local structure.
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFIFO
  }
}

/// Both ends of a pipe.
struct Pipe: ~Copyable {
  let readEnd: OwnedDescriptor
  let writeEnd: OwnedDescriptor

  init() throws(TransportError) {
    var ends: [Int32] = [-1, -1]
    // SAFETY: the array has room for the two numbers.
    let result = unsafe godwit_pipe(&ends)
    guard result == 0 else { throw .failed(action: "Creating a pipe", code: -result) }
    readEnd = OwnedDescriptor(adopting: ends[0])
    writeEnd = OwnedDescriptor(adopting: ends[1])
  }
}

/// Options of TCP connections.
enum TCPOptions {
  /// Requests for pages are small and urgent: nothing waits to be joined with what follows.
  static func sendAtOnce(_ descriptor: Int32) {
    var one: Int32 = 1
    // SAFETY: the kernel reads the local. Where it refuses, the channel is only slower.
    _ = unsafe setsockopt(
      descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &one, socklen_t(MemoryLayout<Int32>.size))
  }

  /// Bytes that may wait to be read by a peer on this host.
  ///
  /// There is no way to fill, and what waits in a queue that the kernel lets grow to megabytes has
  /// left the processor's cache by the time it is read: reading it takes twice as long.
  private static let queuedByteCount: Int32 = 256 << 10

  /// For a connection that does not leave this host.
  static func queueLittle(_ descriptor: Int32) {
    var count = queuedByteCount
    // SAFETY: the kernel reads the local. Where it refuses, the channel is only slower.
    _ = unsafe setsockopt(
      descriptor, SOL_SOCKET, SO_SNDBUF, &count, socklen_t(MemoryLayout<Int32>.size))
  }
}
