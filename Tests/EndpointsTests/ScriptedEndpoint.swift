// An endpoint that answers QMP as a test tells it, or not at all.

import Foundation
import JSON
import QMP
import Synchronization
import Transport

/// Listens on a Unix socket; whoever connects gets the answers of one script.
final class ScriptedEndpoint: Sendable {
  /// What it says to a command.
  enum Answer {
    case returned(JSONValue)
    case refused(String)
    case silence
    /// It ends: nobody is answered any more.
    case end
  }

  let path: String
  private let listener: Listener
  private let heard = Mutex<[String]>([])

  /// Starts to listen.
  /// - Parameter script: the answer to a command, by its name.
  init(_ script: @escaping @Sendable (String) -> Answer) throws {
    path = FileManager.default.temporaryDirectory.path + "/godwit-end-\(UUID().uuidString)"
    listener = try Listener(.unix(path: path))
    _ = try NamedThread(name: "endpoint") { [listener, weak self] in
      while let channel = try? listener.accept() {
        _ = try? NamedThread(name: "client") { [weak self] in
          try? Self.serve(channel, script) { name in self?.heard.withLock { $0.append(name) } }
        }
      }
    }
  }

  deinit { listener.cancel() }

  /// The commands that came, in their order.
  var commands: [String] { heard.withLock { $0 } }

  private static func serve(
    _ channel: ByteChannel, _ script: (String) -> Answer, _ note: (String) -> Void
  ) throws {
    let greeting = QMPGreeting(
      version: QEMUVersion(major: 10, minor: 0), capabilities: ["oob"])
    try channel.write(QMPMessage.greeting(greeting).line)
    var framer = QMPFramer()
    while true {
      // Descriptors that come along are closed with what carried them.
      let (bytes, descriptor) = try channel.readWithDescriptor(atMost: 4096)
      if let descriptor { close(descriptor) }
      guard !bytes.isEmpty else { return }
      var commands: [QMPCommand] = []
      try framer.receive(bytes) { value throws(QMPViolation) in
        if case .command(let command) = try QMPMessage(value) { commands.append(command) }
      }
      for command in commands {
        note(command.name)
        let answer = command.name == "qmp_capabilities" ? .returned([:]) : script(command.name)
        switch answer {
        case .returned(let value):
          try channel.write(QMPMessage.returned(id: command.id, value).line)
        case .refused(let words):
          try channel.write(
            QMPMessage.failed(id: command.id, class: "GenericError", description: words).line)
        case .silence: break
        case .end: return channel.shutdownBoth()
        }
      }
    }
  }
}
