// `godwit list`: the checkpoints of a store.

import ArgumentParser
import CheckpointStore
import JSON

struct ListCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "list",
    abstract: "List the checkpoints in the store, oldest first.",
    discussion: """
      STORED is what a checkpoint added to the store when it was saved: pages that are all zero \
      or that the store had already cost nothing.

      EXAMPLES
        godwit list
        godwit list --json | jq -r '.checkpoints[].name'
      """)

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func perform(_ console: Console) async throws {
    let store = try store.open()
    let checkpoints = try store.checkpoints()
    let usage = try store.usage()
    var table = Table([
      ("NAME", .left), ("CREATED", .left), ("MEMORY", .right), ("STORED", .right),
      ("MACHINE", .left), ("QEMU", .left),
    ])
    for checkpoint in checkpoints {
      table.add(
        checkpoint.name, Units.date(checkpoint.created), Units.size(checkpoint.ramBytes),
        Units.size(checkpoint.storedBytes), checkpoint.machine, checkpoint.qemuVersion)
    }
    let lines = checkpoints.isEmpty ? [] : table.lines + [""]
    let count = Units.count(UInt64(checkpoints.count), "checkpoint")
    console.result(
      lines + ["\(count), \(Units.size(usage.totalBytes)) on disk in \(store.path)"],
      [
        JSONMember("store", .string(store.path)),
        JSONMember("disk_bytes", JSONValue(usage.totalBytes)),
        JSONMember("checkpoints", .array(checkpoints.map { .object($0.jsonMembers) })),
      ])
  }
}
