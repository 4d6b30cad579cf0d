// A monitor that does as a test tells it, and nothing else.

import Foundation
import QMP
import Synchronization
import Transport

/// Listens on a Unix socket and plays a script to the first client.
final class FakeMonitor: Sendable {
  let path: String
  private let listener: Listener
  private let thread: NamedThread

  /// Starts to listen; `script` runs on a thread of its own once a client has come.
  init(_ script: @escaping @Sendable (Conversation) throws -> Void) throws {
    path = FileManager.default.temporaryDirectory.path + "/godwit-qmp-\(UUID().uuidString)"
    let listener = try Listener(.unix(path: path))
    self.listener = listener
    thread = try NamedThread(name: "fake monitor") {
      guard let channel = try? listener.accept(timeout: .seconds(20)) else { return }
      // A script ends when its client goes.
      try? script(Conversation(channel))
    }
  }

  deinit {
    listener.cancel()
    thread.join()
  }

  /// One client's connection.
  final class Conversation: Sendable {
    let channel: ByteChannel
    private let framer = Mutex(QMPFramer())
    private let pending = Mutex<[QMPCommand]>([])

    init(_ channel: ByteChannel) { self.channel = channel }

    func say(_ text: String) throws { try channel.write(Array(text.utf8)) }

    func say(_ message: QMPMessage) throws { try channel.write(message.line) }

    /// The greeting and its acknowledgement.
    func greet() throws {
      try say(Script.greeting)
      let command = try next()
      try say(.returned(id: command.id, [:]))
    }

    /// The next command that the client sends.
    func next() throws -> QMPCommand {
      while true {
        if let command = pending.withLock({ $0.isEmpty ? nil : $0.removeFirst() }) {
          return command
        }
        let bytes = try channel.read(atMost: 4096)
        if bytes.isEmpty { throw TransportError.peerGone(action: "Reading commands") }
        try framer.withLock { framer in
          try framer.receive(bytes) { value throws(QMPViolation) in
            guard case .command(let command) = try QMPMessage(value) else { return }
            pending.withLock { $0.append(command) }
          }
        }
      }
    }

    /// Reads until the client goes.
    func waitForEnd() {
      while let bytes = try? channel.read(atMost: 4096), !bytes.isEmpty {}
    }
  }
}
