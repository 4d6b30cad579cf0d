// `godwit show`: what the store knows of one checkpoint.

import ArgumentParser
import CheckpointStore
import JSON

struct ShowCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "show",
    abstract: "Show one checkpoint: its machine, its memory and what it cost.",
    discussion: """
      For what is inside it, device by device, see `godwit inspect NAME`.

      EXAMPLE
        godwit show web
      """)

  @Argument(help: "The checkpoint's name.", completion: .checkpointName)
  var name: String

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func perform(_ console: Console) async throws {
    let checkpoint = try store.open().checkpoint(named: name)
    console.result(Self.lines(checkpoint), Self.members(checkpoint))
  }

  private static func lines(_ checkpoint: Checkpoint) -> [String] {
    let info = checkpoint.info
    var facts: [(String, String)] = [
      ("name", info.name), ("identity", info.id), ("created", Units.date(info.created)),
      ("machine", "\(info.machine) (\(info.architecture)), saved by QEMU \(info.qemuVersion)"),
    ]
    if let parent = info.parent { facts.append(("descends from", parent)) }
    facts += [
      ("memory", Units.size(info.ramBytes)), ("zero pages", Units.count(info.pagesZero)),
      ("known pages", "\(Units.count(info.pagesKnown)), whose content was there already"),
      ("new pages", "\(Units.count(info.pagesNew)), \(Units.size(info.storedBytes)) as stored"),
      ("device state", Units.size(UInt64(checkpoint.state.deviceState.count))),
    ]
    let demand = checkpoint.demandRecord
    if !demand.requested.isEmpty {
      let count = Units.count(UInt64(demand.requested.count), "page")
      facts.append(("sent first", "\(count), which the guest asked for at an earlier restore"))
    }
    var table = Table([("BLOCK", .left), ("SIZE", .right)])
    for block in info.blocks { table.add(block.name, Units.size(block.byteCount)) }
    let width = facts.map(\.0.count).max() ?? 0
    return facts.map { name, value in
      name + String(repeating: " ", count: width - name.count + 2) + value
    } + [""] + table.lines
  }

  private static func members(_ checkpoint: Checkpoint) -> [JSONMember] {
    let blocks = checkpoint.blocks.map { block in
      JSONValue.object([
        JSONMember("name", .string(block.name)), JSONMember("bytes", JSONValue(block.byteCount)),
        JSONMember("page_size", JSONValue(block.pageSize)),
      ])
    }
    return checkpoint.info.jsonMembers + [
      JSONMember("device_state_bytes", JSONValue(checkpoint.state.deviceState.count)),
      JSONMember("pages_sent_first", JSONValue(checkpoint.demandRecord.requested.count)),
      JSONMember("blocks", .array(blocks)),
    ]
  }
}
