// `godwit receive`: a migration stream into the store.

import ArgumentParser
import CheckpointStore
import Endpoints
import JSON
import Transport

struct ReceiveCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "receive",
    abstract: "Take a migration stream into the store, as the destination of a QEMU's migrate.",
    discussion: """
      The URI is QEMU's: tcp:host:port and unix:path are listened on, fd:N, exec:command and \
      file:path are read. Beyond this machine's own addresses it listens only with --insecure, \
      for a stream is neither encrypted nor asked who sent it.

      EXAMPLES
        godwit receive unix:/run/godwit.sock --name web
        godwit receive file:saved.stream --name web
        godwit receive "exec:ssh host cat saved.stream" --name web
      """)

  static let cancelsInOrder = true

  @Argument(
    help: ArgumentHelp("Where the stream comes from.", valueName: "uri"),
    transform: { try MigrationURI($0) })
  var uri: MigrationURI

  @Option(help: ArgumentHelp("The new checkpoint's name.", valueName: "name"))
  var name: String

  @Flag(help: "Listen on addresses beyond this machine, without encryption.")
  var insecure = false

  @Option(
    help: ArgumentHelp(
      "The guest's page size where the stream does not tell it (alpha, sparc64: 8192).",
      valueName: "bytes"))
  var pageSize = 4096

  @Flag(help: "Store every page as it is.")
  var noCompression = false

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func validate() throws {
    guard pageSize.nonzeroBitCount == 1, (1 << 10...1 << 16).contains(pageSize) else {
      throw ValidationError("--page-size is a power of two from 1024 to 65536.")
    }
  }

  func perform(_ console: Console) async throws {
    let request = StreamRequest(
      uri: uri, name: name, allowsInsecure: insecure, targetPageSize: pageSize,
      compresses: !noCompression)
    let result = try await Operations.receive(
      request, store: try store.open(create: true), observer: console.observer
    ) { address in
      console.note("Listening on \(address).")
      console.emit("listening", [JSONMember("uri", .string("\(address)"))])
    }
    console.result(result.lines, result.jsonMembers)
  }
}
