// `godwit delete`: takes checkpoints off the list.

import ArgumentParser
import CheckpointStore
import Endpoints
import JSON

struct DeleteCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete",
    abstract: "Delete checkpoints, all that are named or none.",
    discussion: """
      The pages that no other checkpoint needs take up room until `godwit gc` frees them.

      EXAMPLE
        godwit delete web-monday web-tuesday && godwit gc
      """)

  @Argument(help: "The checkpoints' names.", completion: .checkpointName)
  var names: [String]

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func perform(_ console: Console) async throws {
    try Operations.delete(names, store: try store.open())
    let count = Units.count(UInt64(names.count), "checkpoint")
    console.result(
      ["Deleted \(count); `godwit gc` frees the room."],
      [JSONMember("deleted", .array(names.map(JSONValue.string)))])
  }
}
