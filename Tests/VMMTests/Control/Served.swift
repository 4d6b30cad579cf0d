// A scripted machine behind its server, and a client of it.

import Foundation
import JSON
import QMP
import Testing
import Transport

@testable import VMM

/// A server for a scripted machine, a client of it, and a folder for what they write.
final class Served: Sendable {
  let machine = ScriptedMachine()
  let server: QMPServer<MachineMonitor>
  let client: QMPClient
  let folder: String

  init() async throws {
    folder = FileManager.default.temporaryDirectory.path + "/godwit-\(UUID().uuidString)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    server = try MachineMonitor.server(for: machine)
    try server.listen(at: .unix(path: folder + "/qmp"))
    client = try await QMPClient.connect(to: folder + "/qmp")
  }

  deinit {
    client.close()
    server.stop(within: .milliseconds(100))
    try? FileManager.default.removeItem(atPath: folder)
  }

  /// Has a command carried out, and holds the answer against what the table says of it.
  @discardableResult
  func run(_ command: String, _ arguments: JSONValue = .null) async throws -> JSONValue {
    let answer = try await client.execute(command, arguments)
    let entry = try #require(MachineMonitor.table[command])
    try entry.returns.check(answer, at: command)
    return answer
  }

  /// The text with which a command is refused; nil where it is not.
  func refusal(_ command: String, _ arguments: JSONValue = .null) async throws -> String? {
    do throws(QMPError) {
      _ = try await client.execute(command, arguments)
      return nil
    } catch {
      guard case .refused(_, _, let text) = error else { throw error }
      return text
    }
  }

  /// What the human monitor prints, without its carriage returns.
  func human(_ line: String) async throws -> [String] {
    try await client.humanMonitor(line).split(whereSeparator: \.isNewline).map(String.init)
  }

  func file(_ name: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: folder + "/" + name)))
  }
}
