// `godwit verify`: whether everything that checkpoints need is still as it was written.

import ArgumentParser
import CheckpointStore
import JSON

struct VerifyCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Read all that a checkpoint needs, or every one, and check it against its hashes.",
    discussion: """
      Names each damaged place by checkpoint, block and page, and exits with 1 if there is any.

      A store whose catalogue is damaged takes no save until --repair has made the catalogue anew \
      from the manifests. That may bring back checkpoints deleted since the last 'godwit gc'.

      EXAMPLES
        godwit verify
        godwit verify web
        godwit verify --repair
      """)

  @Argument(help: "A checkpoint's name. (default: all of them)", completion: .checkpointName)
  var name: String?

  @Flag(help: "Make a damaged catalogue anew before verifying; the old one is kept beside it.")
  var repair = false

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func perform(_ console: Console) async throws {
    if repair {
      let listed = try Store.repairCatalogue(at: store.path)
      console.note("The catalogue lists \(Units.count(UInt64(listed.count), "checkpoint")) now.")
    }
    let report = try store.open().verify(name) { console.show("verifying", $0) }
    for damage in report.damages { console.print(damage.description) }
    let unlisted = report.damageCount - UInt64(report.damages.count)
    if unlisted > 0 { console.print("and \(Units.count(unlisted, "more damaged place"))") }
    let checkpoints = Units.count(UInt64(report.checkpoints), "checkpoint")
    let pages = Units.count(report.pages, "page")
    let verdict =
      report.isClean
      ? "no damage" : "\(Units.count(report.damageCount, "damaged place")), as named above"
    console.result(
      ["\(checkpoints), \(pages), \(Units.size(report.bytesRead)) read: \(verdict)"],
      Self.members(report))
    if !report.isClean { throw ExitCode(1) }
  }

  private static func members(_ report: VerifyReport) -> [JSONMember] {
    let damages = report.damages.map { damage in
      JSONValue.object([
        JSONMember("checkpoint", damage.checkpoint.map(JSONValue.string) ?? .null),
        JSONMember("block", damage.block.map(JSONValue.string) ?? .null),
        JSONMember("page_offset", damage.pageOffset.map { JSONValue($0) } ?? .null),
        JSONMember("file", .string(damage.file)), JSONMember("what", .string(damage.what)),
      ])
    }
    return [
      JSONMember("clean", .bool(report.isClean)),
      JSONMember("checkpoints", JSONValue(report.checkpoints)),
      JSONMember("pages", JSONValue(report.pages)),
      JSONMember("stored_pages", JSONValue(report.storedPages)),
      JSONMember("bytes_read", JSONValue(report.bytesRead)),
      JSONMember("damage_count", JSONValue(report.damageCount)),
      JSONMember("damages", .array(damages)),
    ]
  }
}
