// `godwit gc`: frees what no checkpoint needs.

import ArgumentParser
import CheckpointStore
import JSON

struct CollectCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "gc",
    abstract: "Free the room that no listed checkpoint needs.",
    discussion: """
      Never touches what a listed checkpoint, or a save that is going on, needs. It may be \
      interrupted at any instant.

      EXAMPLE
        godwit gc --wait 60
      """)

  @Option(help: ArgumentHelp("How long to wait for saves to end.", valueName: "seconds"))
  var wait: Double = 0

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func validate() throws {
    guard wait >= 0, wait.isFinite else {
      throw ValidationError("--wait takes a number of seconds, 0 or more.")
    }
  }

  func perform(_ console: Console) async throws {
    let report = try store.open().collect(waitSeconds: wait) { console.show("collecting", $0) }
    let freed = Units.count(report.pagesFreed, "page")
    let packs = Units.count(UInt64(report.packsRemoved), "pack")
    let live = Units.count(report.pagesLive, "page")
    console.result(
      ["Freed \(Units.size(report.bytesFreed)): \(freed), \(packs) removed; \(live) in use."],
      [
        JSONMember("bytes_freed", JSONValue(report.bytesFreed)),
        JSONMember("pages_freed", JSONValue(report.pagesFreed)),
        JSONMember("packs_removed", JSONValue(report.packsRemoved)),
        JSONMember("packs_compacted", JSONValue(report.packsCompacted)),
        JSONMember("sessions_removed", JSONValue(report.sessionsRemoved)),
        JSONMember("pages_live", JSONValue(report.pagesLive)),
      ])
  }
}
