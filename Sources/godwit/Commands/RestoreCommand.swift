// `godwit restore`: a checkpoint into a waiting QEMU.

import ArgumentParser
import CheckpointStore
import Endpoints
import JSON

struct RestoreCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore",
    abstract: "Give a checkpoint to a QEMU that waits for one; the guest runs at once.",
    discussion: """
      The QEMU is started as the saved one was, with -incoming defer added, and with the same \
      machine type, memory and devices: what differs is named before anything runs. The guest \
      runs within milliseconds; the pages it asks for go first and the rest follows. Godwit must \
      stay until they have.

      If it is interrupted meanwhile, the guest waits and nothing is lost: run the same command \
      with --recover.

      EXAMPLES
        qemu-system-x86_64 … -incoming defer -qmp unix:/run/vm/qmp.sock,server,nowait &
        godwit restore web --qmp /run/vm/qmp.sock
        godwit restore web --qmp /run/vm/qmp.sock --recover
      """)

  static let cancelsInOrder = true

  @Argument(help: "The checkpoint's name.", completion: .checkpointName)
  var name: String

  @Option(
    help: ArgumentHelp(
      "The path of the QEMU's QMP socket, a Unix socket.", valueName: "socket"),
    completion: .file())
  var qmp: String

  @Flag(help: "Load all memory first, then run the guest.")
  var eager = false

  @Flag(help: "Carry on a restore that broke half-way.")
  var recover = false

  @Flag(help: "Leave the guest stopped once its state is loaded (implies --eager).")
  var paused = false

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func validate() throws {
    if recover, eager || paused {
      throw ValidationError("--recover carries on as the restore began; it takes no other mode.")
    }
  }

  func perform(_ console: Console) async throws {
    let mode: RestoreMode = recover ? .recover : eager || paused ? .eager : .instant
    let request = RestoreRequest(
      name: name, qmp: qmp, mode: mode, leavesPaused: paused,
      keeperCommand: KeepMonitorCommand.line)
    let result = try await Operations.restore(
      request, store: try store.open(), observer: console.observer)
    console.result(result.lines, result.jsonMembers)
  }
}
