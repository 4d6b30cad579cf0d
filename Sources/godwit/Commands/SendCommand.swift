// `godwit send`: a checkpoint as a migration stream.

import ArgumentParser
import CheckpointStore
import Endpoints
import JSON
import Transport

struct SendCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "send",
    abstract: "Send a checkpoint as a migration stream, as the source of a QEMU's -incoming.",
    discussion: """
      The URI is QEMU's: tcp:host:port, unix:path, fd:N, exec:command or file:path.

      EXAMPLES
        godwit send web unix:/run/incoming.sock
        godwit send web file:web.stream
      """)

  static let cancelsInOrder = true

  @Argument(help: "The checkpoint's name.", completion: .checkpointName)
  var name: String

  @Argument(
    help: ArgumentHelp("Where the stream goes.", valueName: "uri"),
    transform: { try MigrationURI($0) })
  var uri: MigrationURI

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func perform(_ console: Console) async throws {
    let result = try await Operations.send(
      StreamRequest(uri: uri, name: name), store: try store.open(), observer: console.observer)
    let end =
      result.isConfirmed
      ? "the other end has loaded it" : "nobody confirms what becomes of it at the other end"
    let size = Units.size(result.wireBytes)
    console.result(
      ["Sent \(name): \(size) in \(Units.seconds(result.seconds)); \(end)."],
      [
        JSONMember("name", .string(result.name)),
        JSONMember("wire_bytes", JSONValue(result.wireBytes)),
        JSONMember("confirmed", .bool(result.isConfirmed)),
        JSONMember("seconds", .number(result.seconds)),
      ])
  }
}
