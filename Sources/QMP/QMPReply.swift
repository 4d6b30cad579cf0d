// Reading an answer by what every QEMU says there.

import JSON

/// An answer with the command it belongs to, so that what is missing can be reported.
struct QMPReply {
  let command: String
  let value: JSONValue

  init(_ command: String, _ value: JSONValue) {
    self.command = command
    self.value = value
  }

  func string(_ name: String) throws(QMPError) -> String {
    try require(value[name]?.string, name)
  }

  func bool(_ name: String) throws(QMPError) -> Bool {
    try require(value[name]?.bool, name)
  }

  func int(_ name: String) throws(QMPError) -> Int {
    try require(value[name]?.int, name)
  }

  func list() throws(QMPError) -> [QMPReply] {
    try require(value.array, "its list").map { QMPReply(command, $0) }
  }

  func list(_ name: String) throws(QMPError) -> [QMPReply] {
    try require(value[name]?.array, name).map { QMPReply(command, $0) }
  }

  func require<Value>(_ value: Value?, _ what: String) throws(QMPError) -> Value {
    guard let value else { throw .unexpectedReply(command: command, missing: what) }
    return value
  }
}

extension QMPClient {
  /// Has a command carried out, and keeps its name with the answer.
  func reply(
    _ command: String, _ arguments: JSONValue = .null
  ) async throws(QMPError) -> QMPReply {
    QMPReply(command, try await execute(command, arguments))
  }
}
