// The client against a monitor that misbehaves in every way that a test can think of.

import JSON
import QMP
import Testing
import Transport

@Suite(.timeLimit(.minutes(1))) struct QMPClientTests {
  static func failure(
    timeout: Duration = .seconds(10),
    _ script: @escaping @Sendable (FakeMonitor.Conversation) throws -> Void
  ) async throws -> QMPError? {
    let monitor = try FakeMonitor(script)
    let error = await #expect(throws: QMPError.self) {
      try await QMPClient.connect(to: monitor.path, timeout: timeout)
    }
    switch error {
    case .noGreeting(monitor.path, let duration): return .noGreeting(address: "X", after: duration)
    case .notQMP(monitor.path, let found): return .notQMP(address: "X", found: found)
    default: return error
    }
  }

  @Test func `silence means that another client holds the monitor`() async throws {
    let error = try await Self.failure(timeout: .milliseconds(100)) { $0.waitForEnd() }
    #expect(error == .noGreeting(address: "X", after: .milliseconds(100)))
  }

  @Test func `what is not QMP is said to be something else`() async throws {
    let banner = try await Self.failure { monitor in
      try monitor.say("SSH-2.0-OpenSSH_9.2\r\n")
      monitor.waitForEnd()
    }
    #expect(
      banner
        == .notQMP(
          address: "X", found: "something else: the byte 0x53 stands between messages"))
    let closed = try await Self.failure { _ in }
    #expect(closed == .notQMP(address: "X", found: "the end of the connection"))
    let endless = try await Self.failure(timeout: .milliseconds(100)) { monitor in
      try monitor.say("{\"QMP\": ")
      monitor.waitForEnd()
    }
    #expect(endless == .notQMP(address: "X", found: "a message that never ends"))
    let mute = try await Self.failure(timeout: .milliseconds(100)) { monitor in
      try monitor.say(Script.greeting)
      monitor.waitForEnd()
    }
    #expect(mute == .noGreeting(address: "X", after: .milliseconds(100)))
    let stubborn = try await Self.failure { monitor in
      try monitor.say(Script.greeting)
      let id = try monitor.next().id
      try monitor.say(.failed(id: id, class: "GenericError", description: "no"))
      monitor.waitForEnd()
    }
    #expect(
      stubborn
        == .notQMP(address: "X", found: "something else: it did not understand what was sent (no)")
    )
  }

  @Test func `an address that leads nowhere is an error of its own`() async throws {
    await #expect(
      throws: QMPError.transport(
        .failed(action: "Connecting to unix:/nonexistent/monitor", code: 2))
    ) { try await QMPClient.connect(to: "/nonexistent/monitor") }
    await #expect(throws: QMPError.badAddress("", reason: "it is empty")) {
      try await QMPClient.connect(to: "")
    }
    let error = await #expect(throws: QMPError.self) {
      try await QMPClient.connect(to: "tcp:x")
    }
    #expect(error?.description.hasPrefix("'tcp:x' is no address of a QMP monitor: ") == true)
  }

  @Test func `connecting can be cancelled`() async throws {
    let monitor = try FakeMonitor { $0.waitForEnd() }
    let path = monitor.path
    let connecting = Task { try await QMPClient.connect(to: path, timeout: .seconds(50)) }
    try await Task.sleep(for: .milliseconds(30))
    connecting.cancel()
    await #expect(throws: QMPError.closed(command: "qmp_capabilities")) {
      try await connecting.value
    }
  }

  @Test func `a monitor may be reached by TCP`() async throws {
    let listener = try Listener(.tcp(host: "127.0.0.1", port: 0))
    let thread = try NamedThread(name: "tcp monitor") {
      guard let channel = try? listener.accept(timeout: .seconds(10)) else { return }
      let monitor = FakeMonitor.Conversation(channel)
      try? monitor.greet()
      guard let id = try? monitor.next().id else { return }
      try? monitor.say(.returned(id: id, ["status": "running", "running": true]))
      monitor.waitForEnd()
    }
    let address = "\(listener.address)".dropFirst("tcp:".count)
    let client = try await QMPClient.connect(to: String(address))
    #expect(client.version == QEMUVersion(major: 7, minor: 2, micro: 22, package: "Debian"))
    #expect(try await client.runState().isRunning)
    // Descriptors do not travel by TCP.
    let error = await #expect(throws: QMPError.self) {
      try await client.passDescriptor(0, named: "x")
    }
    #expect(
      error
        == .transport(
          .unsuitableURI(
            "\(listener.address)", reason: "descriptors travel over Unix sockets only")))
    client.close()
    thread.join()
  }

  @Test func `answers find their commands in any order`() async throws {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      let commands = try [monitor.next(), monitor.next(), monitor.next()]
      for command in commands.reversed() {
        try monitor.say(.returned(id: command.id, .string(command.name)))
      }
      monitor.waitForEnd()
    }
    let client = try await QMPClient.connect(to: monitor.path)
    let answers = try await withThrowingTaskGroup(of: Bool.self) { group in
      for name in ["a", "b", "c"] {
        group.addTask { try await client.execute(name) == .string(name) }
      }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    #expect(answers == [true, true, true])
    client.close()
  }

  @Test func `a QEMU that ends during a command is noticed`() async throws {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      _ = try monitor.next()
    }
    let client = try await QMPClient.connect(to: monitor.path)
    await #expect(throws: QMPError.connectionLost(command: "cont", address: monitor.path)) {
      try await client.resume()
    }
    await #expect(throws: QMPError.connectionLost(command: "stop", address: monitor.path)) {
      try await client.stop()
    }
    #expect(!client.isConnected)
    for await _ in client.events() { Issue.record("nothing can happen any longer") }
  }

  @Test func `quitting succeeds whether or not the answer still comes`() async throws {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      _ = try monitor.next()
    }
    try await QMPClient.connect(to: monitor.path).quit()
  }

  @Test func `a broken protocol ends the connection for everyone`() async throws {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      _ = try monitor.next()
      try monitor.say("{\"return\": {}}")
      monitor.waitForEnd()
    }
    let client = try await QMPClient.connect(to: monitor.path)
    let violation = QMPError.violation(address: monitor.path, .unknownReply)
    await #expect(throws: violation) { try await client.stop() }
    await #expect(throws: violation) { try await client.stop() }
  }

  @Test func `closing ends what is under way`() async throws {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      monitor.waitForEnd()
    }
    let client = try await QMPClient.connect(to: monitor.path)
    let answer = Task { try await client.stop() }
    while client.isConnected, !Task.isCancelled {
      try await Task.sleep(for: .milliseconds(20))
      client.close()
    }
    await #expect(throws: QMPError.closed(command: "stop")) { try await answer.value }
    await #expect(throws: QMPError.closed(command: "cont")) { try await client.resume() }
  }

  @Test func `waiting ends by time and by cancellation, and late answers are dropped`()
    async throws
  {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      let late = try [monitor.next(), monitor.next()]
      let third = try monitor.next()
      for command in late + [third] {
        try monitor.say(.returned(id: command.id, .string(command.name)))
      }
      monitor.waitForEnd()
    }
    let client = try await QMPClient.connect(to: monitor.path)
    await #expect(throws: QMPError.timedOut(command: "a", after: .milliseconds(30))) {
      try await client.execute("a", timeout: .milliseconds(30))
    }
    let cancelled = Task { try await client.execute("b") }
    try await Task.sleep(for: .milliseconds(30))
    cancelled.cancel()
    await #expect(throws: QMPError.cancelled(command: "b")) { try await cancelled.value }
    #expect(try await client.execute("c", timeout: .seconds(10)) == "c")
  }

  @Test func `a command given up before it is on its way does not wait for ever`() async throws {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      monitor.waitForEnd()
    }
    let client = try await QMPClient.connect(to: monitor.path)
    await #expect(throws: QMPError.timedOut(command: "a", after: .zero)) {
      try await client.execute("a", timeout: .zero)
    }
    let cancelled = Task {
      withUnsafeCurrentTask { $0?.cancel() }
      return try await client.execute("b")
    }
    await #expect(throws: QMPError.cancelled(command: "b")) { try await cancelled.value }
  }

  @Test func `a QEMU that answers nothing gets no more commands after a while`() async throws {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      monitor.waitForEnd()
    }
    let client = try await QMPClient.connect(to: monitor.path)
    let stalled = try await withThrowingTaskGroup(of: Bool.self) { commands in
      for _ in 0..<66 {
        commands.addTask {
          do throws(QMPError) {
            try await client.execute("x", timeout: .milliseconds(1))
          } catch .stalled {
            return true
          } catch .timedOut {}
          return false
        }
      }
      return try await commands.reduce(0) { $0 + ($1 ? 1 : 0) }
    }
    #expect(stalled == 2)
  }

  @Test func `events reach every subscriber in order, from its subscription on`() async throws {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      for count in [100, 200] {
        let command = try monitor.next()
        for index in 0..<count {
          try monitor.say(
            .event(
              QMPEvent.Message(
                name: "E\(index)", data: [:], timestamp: .init(seconds: 1, microseconds: 2))))
        }
        try monitor.say(.returned(id: command.id, [:]))
      }
    }
    let client = try await QMPClient.connect(to: monitor.path)
    let early = client.events()
    try await client.execute("first")
    let late = client.events()
    try await client.execute("second")
    let all = await early.reduce(into: []) { $0.append($1.name) }
    let some = await late.reduce(into: []) { $0.append($1.name) }
    #expect(all == (0..<100).map { "E\($0)" } + (0..<200).map { "E\($0)" })
    #expect(some == (0..<200).map { "E\($0)" })
  }

  @Test func `a subscriber that does not read is cut off, not fed gaps`() async throws {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      let command = try monitor.next()
      let event = QMPMessage.event(
        QMPEvent.Message(name: "E", data: [:], timestamp: .init(seconds: 1, microseconds: 2)))
      for _ in 0..<5000 { try monitor.say(event) }
      try monitor.say(.returned(id: command.id, [:]))
      monitor.waitForEnd()
    }
    let client = try await QMPClient.connect(to: monitor.path)
    let events = client.events()
    try await client.execute("flood")
    let count = await events.reduce(into: 0) { count, _ in count += 1 }
    #expect(count == 4096)
  }

  @Test func `a descriptor needs a Unix socket`() async throws {
    let monitor = try FakeMonitor { monitor in
      try monitor.greet()
      let (bytes, descriptor) = try monitor.channel.readWithDescriptor(atMost: 4096)
      #expect(descriptor != nil)
      #expect(String(decoding: bytes, as: UTF8.self).contains("\"fdname\":\"mig\""))
      if let descriptor { _ = OwnedDescriptor(adopting: descriptor) }
      guard case .command(let command) = try QMPMessage(JSONValue(parsing: bytes)) else { return }
      try monitor.say(.returned(id: command.id, [:]))
      monitor.waitForEnd()
    }
    let client = try await QMPClient.connect(to: monitor.path)
    var pair = try SocketPair()
    let end = pair.take()
    let number = end.raw
    try await client.passDescriptor(number, named: "mig")
    withExtendedLifetime(consume end) {}
  }
}
