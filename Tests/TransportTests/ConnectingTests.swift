// Listening, connecting, commands and files.

import Foundation
import Testing
import Transport

@Suite(.timeLimit(.minutes(1))) struct ConnectingTests {
  /// A path in a directory of its own, short enough for a socket.
  static func path(_ name: String) -> String {
    var template = Array("/tmp/godwit-XXXXXX".utf8CString)
    mkdtemp(&template)
    return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
      + "/" + name
  }

  @Test(arguments: ["tcp:127.0.0.1:0", "tcp:[::1]:0", "tcp:localhost:0", "unix:" + path("s")])
  func `a listener accepts, and both sides talk`(text: String) throws {
    // A machine without IPv6 has no such address to listen on.
    guard let listener = try Self.listener(at: MigrationURI(text)) else { return }
    if case .tcp(_, let port) = listener.address { #expect(port != 0) }
    let client = try ByteChannel.connect(to: listener.address)
    let server = try listener.accept(timeout: .seconds(10))
    try client.write([1, 2])
    try client.shutdownWrite()
    #expect(try server.readAll() == [1, 2])
    try server.write([3])
    #expect(try client.read(atMost: 5) == [3])
    #expect(client.peer == "\(listener.address)")
    #expect(server.peer == "the peer of \(listener.address)")
  }

  static func listener(at address: MigrationURI) throws -> Listener? {
    do {
      return try Listener(address)
    } catch {
      if error.code == EADDRNOTAVAIL { return nil }
      throw error
    }
  }

  @Test(arguments: ["tcp::0", "tcp:0.0.0.0:0", "tcp:[::]:0"])
  func `listening beyond loopback needs express permission`(text: String) throws {
    let address = try MigrationURI(text)
    #expect(throws: TransportError.notLoopback("\(address)")) { try Listener(address) }
    _ = try? Listener(address, allowInsecure: true)
  }

  @Test func `with permission a listener is reachable from elsewhere`() throws {
    let listener = try Listener(MigrationURI("tcp:0.0.0.0:0"), allowInsecure: true)
    guard case .tcp(_, let port) = listener.address else { return }
    let client = try ByteChannel.connect(to: .tcp(host: "127.0.0.1", port: port))
    let server = try listener.accept(timeout: .seconds(10))
    try client.write([1])
    #expect(try server.read(atMost: 1) == [1])
  }

  @Test func `waiting for a peer ends by time and by cancellation`() throws {
    let listener = try Listener(.tcp(host: "127.0.0.1", port: 0))
    let action = "Waiting for a connection to \(listener.address)"
    #expect(throws: TransportError.timedOut(action: action, after: .milliseconds(30))) {
      try listener.accept(timeout: .milliseconds(30))
    }
    let outcome = Outcome()
    let waiter = try NamedThread(name: "waiter") {
      outcome.note { () throws(TransportError) in _ = try listener.accept() }
    }
    usleep(20_000)
    listener.cancel()
    waiter.join()
    #expect(outcome.error == .cancelled(action: action))
  }

  @Test func `an abandoned socket file is replaced, a live one is not`() throws {
    let path = Self.path("live")
    let listener = try Listener(.unix(path: path))
    #expect(throws: TransportError.failed(action: "Listening on unix:\(path)", code: EADDRINUSE)) {
      try Listener(.unix(path: path))
    }
    var status = stat()
    #expect(stat(path, &status) == 0 && status.st_mode & 0o777 == 0o600)
    withExtendedLifetime(listener) {}
    let abandoned = Self.path("abandoned")
    let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: abandoned.utf8) }
    withUnsafePointer(to: &address) { pointer in
      _ = pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    close(descriptor)
    _ = try Listener(.unix(path: abandoned))
  }

  @Test func `a listener takes its socket file with it`() throws {
    let path = Self.path("gone")
    do { _ = try Listener(.unix(path: path)) }
    #expect(access(path, F_OK) != 0)
  }

  @Test func `a socket path that is too long is an error wherever it comes from`() {
    let address = MigrationURI.unix(path: "/tmp/" + String(repeating: "x", count: 103))
    #expect(throws: TransportError.self) { try Listener(address) }
    let error = #expect(throws: TransportError.self) { try ByteChannel.connect(to: address) }
    #expect(error?.description.contains("at most 107 bytes, this one has 108") == true)
  }

  @Test func `connecting to nothing says so`() throws {
    let address = try Listener(.tcp(host: "127.0.0.1", port: 0)).address
    #expect(throws: TransportError.failed(action: "Connecting to \(address)", code: ECONNREFUSED)) {
      try ByteChannel.connect(to: address)
    }
    #expect(
      throws: TransportError.failed(action: "Connecting to unix:/nonexistent/s", code: ENOENT)
    ) { try ByteChannel.connect(to: MigrationURI("unix:/nonexistent/s")) }
    let error = #expect(throws: TransportError.self) {
      try ByteChannel.connect(to: MigrationURI("tcp:no such host:1"))
    }
    #expect(error?.description.hasPrefix("Looking up the host 'no such host' failed: ") == true)
  }

  @Test func `a connection that nobody answers is given up`() throws {
    // A queue of one, filled: the kernel leaves further connections waiting.
    let path = Self.path("full")
    let listener = try Listener(.unix(path: path))
    var waiting: [ByteChannel] = []
    let error = #expect(throws: TransportError.self) {
      for _ in 0..<100 {
        waiting.append(
          try ByteChannel.connect(to: .unix(path: path), timeout: .milliseconds(50)))
      }
    }
    #expect(
      error == .timedOut(action: "Connecting to unix:\(path)", after: .milliseconds(50)))
    withExtendedLifetime((listener, waiting)) {}
  }

  @Test func `only sockets can be listened on`() throws {
    #expect(
      throws: TransportError.unsuitableURI(
        "fd:0", reason: "only tcp: and unix: addresses can be listened on")
    ) { try Listener(.descriptor(0)) }
  }

  @Test func `a command is a channel both ways`() throws {
    let channel = try ByteChannel.connect(to: MigrationURI("exec:tr a-z A-Z"))
    try channel.write(Array("hello".utf8))
    try channel.shutdownWrite()
    #expect(try channel.readAll() == Array("HELLO".utf8))
    #expect(try channel.commandExit() == .status(0))
    try channel.requireCommandSuccess()
  }

  @Test func `a command takes more than a pipe holds`() throws {
    let channel = try ByteChannel.connect(to: MigrationURI("exec:wc -c"))
    try channel.write([UInt8](repeating: 65, count: 1_000_000))
    try channel.shutdownWrite()
    #expect(try channel.readAll() == Array("1000000\n".utf8))
  }

  @Test func `a command's failure is reported with its status`() throws {
    let failing = try ByteChannel.connect(to: MigrationURI("exec:exit 3"))
    #expect(
      throws: TransportError.commandFailed(command: "exit 3", exit: .status(3))
    ) { try failing.requireCommandSuccess() }
    let killed = try ByteChannel.connect(to: MigrationURI("exec:kill -9 $$"))
    #expect(try killed.commandExit() == .signal(9))
    let (other, _) = try ByteChannel.pair()
    #expect(try other.commandExit() == nil)
  }

  @Test func `writing to a command that has gone is an error and no signal`() throws {
    let channel = try ByteChannel.connect(to: MigrationURI("exec:true"))
    #expect(throws: TransportError.commandFailed(command: "true", exit: .status(0))) {
      while true { try channel.write([UInt8](repeating: 0, count: 100_000)) }
    }
    // The command itself dies of the signal as commands do.
    let pipe = try ByteChannel.connect(to: MigrationURI("exec:yes | head -1; echo $?"))
    #expect(try pipe.readAll() == Array("y\n0\n".utf8))
  }

  @Test(arguments: ["exec:exec sleep 60 2>/dev/null", "exec:exec sleep 60 >/dev/null 2>&1"])
  func `another thread ends the wait for a command`(text: String) throws {
    let channel = try ByteChannel.connect(to: MigrationURI(text))
    let outcome = Outcome()
    let writer = try NamedThread(name: "writer") {
      outcome.note { () throws(TransportError) in
        try channel.write([UInt8](repeating: 1, count: 1 << 20))
      }
    }
    usleep(30_000)
    channel.shutdownBoth()
    writer.join()
    #expect(outcome.error == .cancelled(action: "Writing to \(text)"))
    #expect(try channel.commandExit() == .signal(SIGTERM))
  }

  @Test func `a command that ends early is told of with its status`() throws {
    let channel = try ByteChannel.connect(to: MigrationURI("exec:exit 3"))
    #expect(throws: TransportError.commandFailed(command: "exit 3", exit: .status(3))) {
      while true { try channel.write([UInt8](repeating: 0, count: 100_000)) }
    }
    let deaf = try ByteChannel.connect(to: MigrationURI("exec:exec <&-; sleep 20"))
    #expect(throws: TransportError.peerGone(action: "Writing to exec:exec <&-; sleep 20")) {
      while true { try deaf.write([UInt8](repeating: 0, count: 100_000)) }
    }
    deaf.shutdownBoth()
  }

  @Test func `what a command has started ends with it`() throws {
    // The shell that runs it has a shell of its own, which has become another program.
    let channel = try ByteChannel.connect(
      to: MigrationURI("exec:sh -c 'echo $$; exec sleep 60'; true"))
    let text = String(decoding: try channel.read(atMost: 100), as: UTF8.self)
    let process = try #require(pid_t(text.trimmingCharacters(in: .whitespacesAndNewlines)))
    #expect(kill(process, 0) == 0)
    channel.shutdownBoth()
    var isGone = false
    for _ in 0..<1000 where !isGone {
      let status = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8)
      isGone = status.map { $0.contains(") Z ") } ?? true
      if !isGone { usleep(10_000) }
    }
    #expect(isGone, "a child of the command runs on")
  }

  @Test func `a named pipe that nobody reads is given up, and one that is read works`() throws {
    let path = Self.path("fifo")
    #expect(mkfifo(path, 0o600) == 0)
    let address = MigrationURI.file(path: path, offset: 0)
    #expect(throws: TransportError.timedOut(action: "Creating \(path)", after: .milliseconds(30))) {
      try ByteChannel.connect(to: address, for: .writing, timeout: .milliseconds(30))
    }
    let outcome = Outcome()
    let writer = try NamedThread(name: "writer") {
      outcome.note { () throws(TransportError) in
        let channel = try ByteChannel.connect(to: address, for: .writing)
        usleep(30_000)
        try channel.write([1, 2, 3])
      }
    }
    let reading = try ByteChannel.connect(to: address, for: .reading)
    #expect(try reading.readAll() == [1, 2, 3])
    writer.join()
    #expect(outcome.error == nil)
  }

  @Test func `a file is cut off at its offset and read from there`() throws {
    let path = Self.path("f")
    let plain = try ByteChannel.connect(to: .file(path: path, offset: 0), for: .writing)
    try plain.write([1, 2, 3, 4, 5, 6])
    let tail = try ByteChannel.connect(to: .file(path: path, offset: 2), for: .writing)
    try tail.write([9, 8])
    try tail.shutdownWrite()
    let whole = try ByteChannel.connect(to: .file(path: path, offset: 0), for: .reading)
    #expect(try whole.readAll() == [1, 2, 9, 8])
    let part = try ByteChannel.connect(to: .file(path: path, offset: 3), for: .reading)
    #expect(try part.readAll() == [8])
  }

  @Test func `a file that cannot be used says why`() throws {
    #expect(
      throws: TransportError.failed(action: "Opening /nonexistent/f", code: ENOENT)
    ) { try ByteChannel.connect(to: MigrationURI("file:/nonexistent/f"), for: .reading) }
    #expect(
      throws: TransportError.failed(action: "Creating /nonexistent/f", code: ENOENT)
    ) { try ByteChannel.connect(to: MigrationURI("file:/nonexistent/f"), for: .writing) }
    #expect(
      throws: TransportError.unsuitableURI(
        "file:/x", reason: "a file has no return path; use a socket or a command")
    ) { try ByteChannel.connect(to: MigrationURI("file:/x")) }
    let full = try ByteChannel.connect(to: MigrationURI("file:/dev/full"), for: .writing)
    #expect(
      throws: TransportError.failed(action: "Writing to file:/dev/full", code: ENOSPC)
    ) { try full.write([1]) }
  }
}
