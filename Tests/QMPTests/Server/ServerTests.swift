// The server on real sockets: several clients, good and bad, at the same time.

import Foundation
import JSON
import Testing
import Transport

@testable import QMP

/// A server on a Unix socket of its own.
final class TestServer {
  let server: QMPServer<TestHost>
  let host = TestHost()
  let path: String

  init(limits: QMPServerLimits = QMPServerLimits()) throws {
    path = FileManager.default.temporaryDirectory.path + "/godwit-qmp-\(UUID().uuidString)"
    server = try QMPServer(TestHost.table, for: host, limits: limits)
    try server.listen(at: .unix(path: path))
  }

  deinit { server.stop(within: .milliseconds(100)) }

  func connect() throws -> ByteChannel { try ByteChannel.connect(to: .unix(path: path)) }
}

@Suite(.timeLimit(.minutes(10))) struct ServerTests {
  @Test func `our own client is served`() async throws {
    let test = try TestServer()
    let client = try await QMPClient.connect(to: test.path)
    #expect(client.version == QEMUVersion(major: 10, minor: 0, package: "test"))
    #expect(try await client.execute("echo", ["value": [1, "x"]]) == [1, "x"])
    #expect(try await client.executeOutOfBand("at-once") == [:])
    #expect(try await client.schema().has("echo"))
    await #expect(
      throws: QMPError.refused(
        command: "echo", class: "GenericError", description: "Parameter 'value' is missing")
    ) { try await client.execute("echo") }
    client.close()
  }

  @Test func `a command that hangs holds up neither one out of band nor one that only looks`()
    async throws
  {
    let test = try TestServer()
    let first = try await QMPClient.connect(to: test.path)
    let second = try await QMPClient.connect(to: test.path)
    let hanging = Task { try await first.execute("hang") }
    await onOwnThread { [host = test.host] in host.hangs.wait() }
    let limit = Duration.seconds(60)
    let answers = [
      try? await second.executeOutOfBand("at-once", timeout: limit),
      try? await second.execute("look", timeout: limit),
      try? await second.execute("query-version", timeout: limit)["package"],
      try? await first.executeOutOfBand("at-once", timeout: limit),
    ]
    test.host.mayGoOn.signal()
    #expect(answers == [[:], [:], "test", [:]])
    #expect(try await hanging.value == [:])
    // Of one client the order is kept.
    #expect(try await first.execute("look") == [:])
  }

  private func onOwnThread(_ body: @escaping @Sendable () -> Void) async {
    await withCheckedContinuation { continuation in
      Thread.detachNewThread {
        body()
        continuation.resume()
      }
    }
  }

  @Test func `a server that has stopped leaves no socket file`() throws {
    // Whoever held the listener last took the file with it, which came too late now and then.
    for _ in 0..<50 {
      let test = try TestServer()
      test.server.stop()
      #expect(!FileManager.default.fileExists(atPath: test.path))
    }
  }

  @Test func `a TCP socket serves too, and only this machine unless told`() async throws {
    let server = try QMPServer(TestHost.table, for: TestHost())
    let address = try server.listen(at: .tcp(host: "127.0.0.1", port: 0))
    let client = try await QMPClient.connect(to: "\(address)")
    #expect(try await client.execute("stop") == [:])
    #expect(throws: TransportError.self) { try server.listen(at: .tcp(host: "", port: 0)) }
    server.stop()
    #expect(throws: TransportError.self) { try ByteChannel.connect(to: address) }
  }

  @Test func `many clients at once get their own answers and all events`() async throws {
    let test = try TestServer()
    try await withThrowingTaskGroup(of: Int.self) { group in
      let path = test.path
      for number in 0..<8 {
        group.addTask {
          let client = try await QMPClient.connect(to: path)
          let events = client.events()
          for turn in 0..<50 {
            let value = JSONValue(number * 1000 + turn)
            #expect(try await client.execute("echo", ["value": value]) == value)
          }
          for await event in events where event.name == "STOP" { return 1 }
          return 0
        }
      }
      // Reported again and again: each client waits for one after its own commands.
      let server = test.server
      let reporter = Task {
        while !Task.isCancelled {
          server.report("STOP")
          try? await Task.sleep(for: .milliseconds(5))
        }
      }
      var count = 0
      for try await one in group { count += one }
      reporter.cancel()
      #expect(count == 8)
    }
  }

  @Test func `an event has the time of day and no empty data`() async throws {
    let test = try TestServer()
    let channel = try test.connect()
    let reader = LineReader(channel)
    _ = try reader.next()
    try channel.write(Array(#"{"execute":"qmp_capabilities"}"#.utf8))
    _ = try reader.next()
    test.server.report("STOP")
    let event = try reader.next()
    #expect(event?["event"] == "STOP" && event?["data"] == nil)
    let seconds = event?["timestamp"]?["seconds"]?.int ?? 0
    #expect(abs(Double(seconds) - Date().timeIntervalSince1970) < 5)
    test.server.report("OFTEN", ["n": 1])
    for number in 2...9 { test.server.report("OFTEN", ["n": JSONValue(number)]) }
    #expect(try reader.next()?["data"] == ["n": 1])
    #expect(try reader.next()?["data"] == ["n": 9])
  }

  @Test func `clients that send rubbish, half a line or a megabyte harm nobody`() async throws {
    let test = try TestServer()
    let bad = try (0..<4).map { _ in try test.connect() }
    let rubbish = Rubbish.all.flatMap(\.bytes)
    try bad[0].write(rubbish + rubbish)
    try bad[1].write(Array(#"{"execute":"query-"#.utf8))
    try bad[2].write(Array(repeating: UInt8(ascii: "["), count: 1 << 20) + [0x0A])
    try bad[3].write(Array("\"".utf8) + Array(repeating: UInt8(ascii: "x"), count: 2 << 20))
    let client = try await QMPClient.connect(to: test.path)
    for number in 0..<100 {
      let value = JSONValue(number)
      #expect(try await client.execute("echo", ["value": value]) == value)
    }
    // And they themselves are still served.
    try bad[1].write(Array(#"name","id":1}{"execute":"qmp_capabilities","id":2}"#.utf8))
    let reader = LineReader(bad[1])
    _ = try reader.next()
    #expect(try reader.next()?["error"]?["class"] == "CommandNotFound")
    #expect(try reader.next() == ["return": [:], "id": 2])
    #expect(test.server.clientCount == 5)
  }

  @Test func `a client that never reads harms nobody and is given up at last`() async throws {
    var limits = QMPServerLimits()
    limits.answerByteCount = 64 << 10
    limits.unreadByteCount = 512 << 10
    let test = try TestServer(limits: limits)
    let deaf = try test.connect()
    try deaf.write(Array("{\"execute\":\"qmp_capabilities\"}\n".utf8))
    // Answers it does not read hold up its own commands alone: what it sends piles up in its own
    // socket until that takes no more.
    let writer = try NamedThread(name: "deaf") {
      let value = String(repeating: "x", count: 1000)
      let line = Array("{\"execute\":\"echo\",\"arguments\":{\"value\":\"\(value)\"}}\n".utf8)
      for _ in 0..<20_000 { guard (try? deaf.write(line)) != nil else { return } }
    }
    let client = try await QMPClient.connect(to: test.path)
    for number in 0..<100 {
      let value = JSONValue(number)
      #expect(try await client.execute("echo", ["value": value]) == value)
    }
    #expect(test.server.clientCount == 2)
    // Events cannot be held back: it is given up, and its place is free.
    for _ in 0..<20_000 where test.server.clientCount == 2 {
      test.server.report("STOP", ["x": .string(String(repeating: "y", count: 200))])
      if try await client.execute("stop") != [:] { break }
    }
    #expect(test.server.clientCount == 1)
    writer.join()
    #expect(try await client.execute("stop") == [:])
  }

  @Test func `a client that has sent everything still gets its answers`() throws {
    let test = try TestServer()
    let channel = try test.connect()
    let commands = (0..<30).map { "{\"execute\":\"stop\",\"id\":\($0)}\n" }.joined()
    try channel.write(Array(("{\"execute\":\"qmp_capabilities\"}" + commands).utf8))
    try channel.shutdownWrite()
    let reader = LineReader(channel)
    var count = 0
    while try reader.next() != nil { count += 1 }
    #expect(count == 32)
  }

  @Test func `there are so many places, and one that is free is taken`() async throws {
    var limits = QMPServerLimits()
    limits.clientCount = 2
    let test = try TestServer(limits: limits)
    let first = try await QMPClient.connect(to: test.path)
    let second = try await QMPClient.connect(to: test.path)
    await #expect(throws: QMPError.self) {
      try await QMPClient.connect(to: test.path, timeout: .milliseconds(200))
    }
    first.close()
    let third = try await QMPClient.connect(to: test.path)
    #expect(try await third.execute("stop") == [:])
    #expect(try await second.execute("stop") == [:])
  }

  @Test func `a descriptor comes with its command, and is closed if nobody takes it`() async throws
  {
    let test = try TestServer()
    let client = try await QMPClient.connect(to: test.path)
    var pair = try SocketPair()
    let ours = try ByteChannel(adopting: pair.take(), peer: "the other end")
    let theirs = HeldDescriptor(pair.take())
    try await client.execute("getfd", ["fdname": "a"], passing: theirs.raw)
    theirs.close()
    await #expect(
      throws: QMPError.refused(
        command: "getfd", class: "GenericError",
        description: "No file descriptor supplied via SCM_RIGHTS")
    ) { try await client.execute("getfd", ["fdname": "b"]) }
    // The server has the only copy: when its client goes, ours reads an end.
    client.close()
    #expect(try ours.read(atMost: 1).isEmpty)
  }

  @Test func `the end waits for answers that are owed`() async throws {
    let test = try TestServer()
    let client = try await QMPClient.connect(to: test.path)
    #expect(try await client.execute("stop") == [:])
    test.server.stop()
    #expect(test.server.clientCount == 0)
    await #expect(throws: QMPError.self) { try await client.execute("stop") }
  }
}

/// A descriptor that a test closes when it likes.
private final class HeldDescriptor {
  private var descriptor: OwnedDescriptor?
  let raw: Int32

  init(_ descriptor: consuming OwnedDescriptor) {
    raw = descriptor.raw
    self.descriptor = consume descriptor
  }

  func close() { descriptor = nil }
}
