// What a QEMU knows, asked of itself rather than guessed from its version.

public import JSON

/// The commands of a QEMU and their arguments, from `query-qmp-schema`.
public struct QMPSchema: Equatable, Sendable {
  private let arguments: [String: Set<String>]

  /// Reads the answer to `query-qmp-schema`; what is not understood is passed over.
  public init(_ value: JSONValue) {
    let entries = value.array ?? []
    var objects: [String: Set<String>] = [:]
    for entry in entries where entry["meta-type"] == "object" {
      guard let name = entry["name"]?.string else { continue }
      objects[name] = Set((entry["members"]?.array ?? []).compactMap { $0["name"]?.string })
    }
    var arguments: [String: Set<String>] = [:]
    for entry in entries where entry["meta-type"] == "command" {
      guard let name = entry["name"]?.string else { continue }
      arguments[name] = entry["arg-type"]?.string.flatMap { objects[$0] } ?? []
    }
    self.arguments = arguments
  }

  /// Whether this QEMU has the command.
  public func has(_ command: String) -> Bool { arguments[command] != nil }

  /// Whether this QEMU's command takes the argument.
  public func command(_ command: String, takes argument: String) -> Bool {
    arguments[command]?.contains(argument) ?? false
  }
}

extension QMPClient {
  /// `query-qmp-schema`: some hundred KiB; keep it rather than asking twice.
  public func schema() async throws(QMPError) -> QMPSchema {
    QMPSchema(try await execute("query-qmp-schema"))
  }

  /// Whether this QEMU has the command: `query-commands`.
  public func supports(_ command: String) async throws(QMPError) -> Bool {
    try await execute("query-commands").array?.contains { $0["name"]?.string == command } ?? false
  }
}
