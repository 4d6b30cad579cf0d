// The descriptors behind a character backend: terminal, file, socket. No call here ever waits.

import CLinux
import Glibc
import Synchronization
import Transport

/// An opened character backend.
final class CharacterPort: Sendable {
  private enum Kind {
    case null, standard, file, listener(path: String), connected
  }

  private struct State: ~Copyable, Sendable {
    /// What bytes are written to and read from: the file, the socket's client.
    var descriptor: OwnedDescriptor?
    var hasInput: Bool
  }

  private let kind: Kind
  private let listener: OwnedDescriptor?
  /// The listener's number, which holds as long as this object does.
  private let listenerNumber: Int32?
  private let state: Mutex<State>

  /// Whether it drops everything and says nothing.
  var isNull: Bool { if case .null = kind { true } else { false } }

  /// Opens what was chosen.
  init(_ backend: CharacterBackend) throws(DeviceError) {
    switch backend {
    case .none:
      kind = .null
      listener = nil
      listenerNumber = nil
      state = Mutex(State(descriptor: nil, hasInput: false))
    case .stdio:
      kind = .standard
      listener = nil
      listenerNumber = nil
      HostTerminal.enterCharacterMode()
      state = Mutex(State(descriptor: nil, hasInput: true))
    case .file(let path):
      kind = .file
      listener = nil
      listenerNumber = nil
      let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK
      // SAFETY: the path is a terminated string for the duration of the call.
      let number = SystemErrors.repeating { Int(unsafe open(path, flags, 0o644)) }
      guard number >= 0 else {
        throw .system(doing: "Opening '\(path)' for a serial port's output", code: Int32(-number))
      }
      state = Mutex(
        State(
          descriptor: OwnedDescriptor(adopting: Int32(number)), hasInput: false))
    case .unix(let path):
      kind = .listener(path: path)
      let socket = try Self.listen(at: path)
      listenerNumber = socket.raw
      listener = consume socket
      state = Mutex(State(descriptor: nil, hasInput: false))
    }
  }

  /// Takes over one end of a connection.
  init(adopting descriptor: consuming OwnedDescriptor) {
    kind = .connected
    listener = nil
    listenerNumber = nil
    state = Mutex(State(descriptor: consume descriptor, hasInput: true))
  }

  deinit {
    if case .standard = kind { HostTerminal.restore() }
    if case .listener(let path) = kind { Self.removeSocket(at: path) }
  }

  /// Writes as much as can be written at once; the number of bytes that are dealt with.
  ///
  /// What a backend that is broken or has no client gets counts as written: it is dropped.
  func write(_ bytes: ArraySlice<UInt8>) -> Int {
    if bytes.isEmpty { return 0 }
    return state.withLock { state in
      let number: Int32
      switch kind {
      case .null: return bytes.count
      case .standard: number = STDOUT_FILENO
      case .file, .listener, .connected:
        guard let own = state.descriptor?.raw else { return bytes.count }
        number = own
      }
      let written = Self.write(bytes, to: number, isSocket: isSocket)
      if written >= 0 { return written }
      if written == -Int(EAGAIN) { return 0 }
      if case .listener = kind { state.descriptor = nil }
      return bytes.count
    }
  }

  /// Reads at most `count` bytes of those that have come; empty where there are none.
  func read(atMost count: Int) -> [UInt8] {
    acceptClient()
    return state.withLock { state in
      guard state.hasInput else { return [] }
      let number = state.descriptor?.raw ?? STDIN_FILENO
      guard Self.isReady(number, POLLIN, milliseconds: 0) else { return [] }
      var code = 0
      // SAFETY: the buffer has room for `count` bytes, of which the call says how many it filled.
      let bytes = unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
        let result = SystemErrors.repeating {
          unsafe Glibc.read(number, buffer.baseAddress, count)
        }
        filled = max(0, result)
        code = result
      }
      // End of input, or an error that stays: there is nothing more to wait for.
      if code == 0 || code < 0 && code != -Int(EAGAIN) {
        state.hasInput = false
        if case .listener = kind { state.descriptor = nil }
      }
      return bytes
    }
  }

  /// Waits a little until more can be written.
  func waitForOutput(milliseconds: Int32) {
    let number = state.withLock { state in
      state.descriptor?.raw ?? (isStandard ? STDOUT_FILENO : -1)
    }
    if number >= 0 { _ = Self.isReady(number, POLLOUT, milliseconds: milliseconds) }
  }

  /// What a thread sleeps for that wants input, or to be rid of output.
  func watched(input: Bool, output: Bool) -> [(number: Int32, events: Int32)] {
    state.withLock { state in
      var found: [(number: Int32, events: Int32)] = []
      if isStandard {
        if input && state.hasInput { found.append((STDIN_FILENO, POLLIN)) }
        if output { found.append((STDOUT_FILENO, POLLOUT)) }
      } else if let own = state.descriptor?.raw {
        let events = (input && state.hasInput ? POLLIN : 0) | (output ? POLLOUT : 0)
        // A descriptor without events would still report a hang-up, over and over.
        if events != 0 { found.append((own, events)) }
      } else if let listenerNumber {
        found.append((listenerNumber, POLLIN))
      }
      return found
    }
  }

  private var isStandard: Bool { if case .standard = kind { true } else { false } }
  private var isSocket: Bool {
    switch kind {
    case .listener, .connected: true
    case .null, .standard, .file: false
    }
  }

  private func acceptClient() {
    guard let listenerNumber else { return }
    state.withLock { state in
      guard state.descriptor == nil, Self.isReady(listenerNumber, POLLIN, milliseconds: 0)
      else { return }
      let number = godwit_accept(listenerNumber)
      guard number >= 0 else { return }
      state.descriptor = OwnedDescriptor(adopting: number)
      state.hasInput = true
    }
  }

  private static func isReady(_ number: Int32, _ events: Int32, milliseconds: Int32) -> Bool {
    var polled = pollfd(fd: number, events: Int16(events), revents: 0)
    // SAFETY: one entry for the duration of the call.
    return unsafe poll(&polled, 1, milliseconds) > 0
  }

  /// Writes without waiting; the result, or an error number negated.
  private static func write(_ bytes: ArraySlice<UInt8>, to number: Int32, isSocket: Bool) -> Int {
    // Descriptors that others share (a terminal, a pipe on standard output) cannot be made
    // non-blocking for this process alone; ready, they take a small write without waiting.
    let share = bytes.prefix(isSocket ? bytes.count : 512)
    if !isSocket && !isReady(number, POLLOUT, milliseconds: 0) { return -Int(EAGAIN) }
    // SAFETY: the bytes live for the duration of the call.
    return unsafe share.withUnsafeBytes { bytes in
      SystemErrors.repeating {
        isSocket
          ? unsafe Glibc.send(number, bytes.baseAddress, bytes.count, sendFlags)
          : unsafe Glibc.write(number, bytes.baseAddress, bytes.count)
      }
    }
  }

  private static let sendFlags = Int32(MSG_DONTWAIT | MSG_NOSIGNAL)

  private static func listen(at path: String) throws(DeviceError) -> OwnedDescriptor {
    let action = "Listening on '\(path)' for a serial port"
    let type = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
    let number = socket(AF_UNIX, type, 0)
    guard number >= 0 else { throw .system(doing: action, code: errno) }
    let descriptor = OwnedDescriptor(adopting: number)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    let name = Array(path.utf8)
    let capacity = MemoryLayout.size(ofValue: address.sun_path)
    guard name.count < capacity else { throw .system(doing: action, code: ENAMETOOLONG) }
    // SAFETY: the name is shorter than the field, whose rest stays zero; the address is whole and
    // lives for the calls.
    let result = unsafe withUnsafeMutablePointer(to: &address) { pointer -> Int32 in
      unsafe withUnsafeMutableBytes(of: &pointer.pointee.sun_path) {
        unsafe $0.copyBytes(from: name)
      }
      Self.removeSocket(at: path)
      return unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe bind(number, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    guard result == 0, Glibc.listen(number, 1) == 0 else {
      throw .system(doing: action, code: errno)
    }
    return descriptor
  }

  /// Removes a socket that an earlier machine left behind, and nothing but a socket.
  private static func removeSocket(at path: String) {
    var information = stat()
    // SAFETY: the path is a terminated string for the duration of the calls; the local is filled.
    guard unsafe lstat(path, &information) == 0, information.st_mode & S_IFMT == S_IFSOCK
    else { return }
    unsafe unlink(path)
  }
}
