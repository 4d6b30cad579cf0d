// `godwit start`: starts QEMUs and restores a checkpoint into each.

import ArgumentParser
import CheckpointStore
import Endpoints
import JSON

struct StartCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "start",
    abstract: "Start QEMUs and restore a checkpoint into each, instantly.",
    discussion: """
      What follows -- is the QEMU to start, with the arguments of the saved machine; Godwit adds \
      -incoming, a QMP socket and whatever else is needed, and prints each one's process and \
      socket. {index} in an argument becomes the machine's number, from 0. The QEMUs run on when \
      Godwit has ended. A machine of Godwit's own is started by `godwit vm run` in the same place.

      With --share the clones share one image of the memory until they write to it.

      EXAMPLES
        godwit start web -- qemu-system-x86_64 -machine pc -m 4096
        godwit start web --count 8 --share -- qemu-system-x86_64 -machine pc -m 4096
        godwit start web --count 2 -- qemu-system-x86_64 … -serial file:web-{index}.log
        godwit start own --count 2 -- godwit vm run --serial file:own-{index}.log
      """)

  static let cancelsInOrder = true

  @Argument(help: "The checkpoint's name.", completion: .checkpointName)
  var name: String

  @Option(help: ArgumentHelp("How many machines to start.", valueName: "number"))
  var count = 1

  @Flag(help: "Let the machines share their memory until they write to it.")
  var share = false

  @Flag(help: "Load all memory first, then run the guests.")
  var eager = false

  @Option(
    help: ArgumentHelp(
      "Where the QMP sockets go. (default: a new private folder)", valueName: "folder"),
    completion: .directory)
  var runDirectory: String?

  @Argument(
    parsing: .postTerminator,
    help: ArgumentHelp("The QEMU and its arguments, after --.", valueName: "qemu …"))
  var qemu: [String]

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func validate() throws {
    guard count > 0 else { throw ValidationError("--count takes a number of 1 or more.") }
    guard !qemu.isEmpty else {
      throw ValidationError(
        "Name the QEMU to start after --, such as -- qemu-system-x86_64 -m 4096.")
    }
    if share, eager {
      throw ValidationError("--share maps the memory; there is nothing to load eagerly.")
    }
  }

  func perform(_ console: Console) async throws {
    let request = StartRequest(
      name: name, count: count, sharesMemory: share, isEager: eager, qemuCommand: qemu,
      runDirectory: runDirectory, keeperCommand: KeepMonitorCommand.line)
    let guests = try await Operations.start(
      request, store: try store.open(), observer: console.observer)
    console.result(
      guests.map(\.line),
      [
        JSONMember("name", .string(name)),
        JSONMember("guests", .array(guests.map { .object($0.jsonMembers) })),
      ])
  }
}
