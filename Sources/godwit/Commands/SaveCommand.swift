// `godwit save`: a running QEMU machine into the store.

public import ArgumentParser
import CheckpointStore
public import Endpoints
import JSON

/// How memory is copied, where the person insists.
enum SaveModeFlag: String, EnumerableFlag, Sendable {
  case live, precopy, paused

  static func help(for value: SaveModeFlag) -> ArgumentHelp? {
    switch value {
    case .live: "Use QEMU's background snapshot: a checkpoint of now; the guest stops for a moment."
    case .precopy: "Copy while the guest runs, until what is left fits a short stop."
    case .paused: "Stop the guest for the whole copy."
    }
  }

  /// The mode as the operation names it.
  var mode: SaveMode {
    switch self {
    case .live: .live
    case .precopy: .precopy
    case .paused: .paused
    }
  }
}

/// What to do about disks that the guest goes on writing to.
enum DiskChoice: String, ExpressibleByArgument, CaseIterable, Sendable {
  case ignore
}

extension AfterSave: ExpressibleByArgument {}

struct SaveCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "save",
    abstract: "Save a running QEMU machine into the store.",
    discussion: """
      The guest runs on while its memory is copied, and then does what --then says. Pages that \
      are all zero, or that the store has from any machine, take no room. Without --live, \
      --precopy or --paused, Godwit takes the precopy unless this QEMU is known to lose writes \
      in it, and says so. Machines of Godwit's own know no --live.

      Where the machine has disks it may write to and is to go on running, its memory and its \
      disks would part ways: name one of --then pause, --then quit or --disks ignore.

      EXAMPLES
        godwit save --qmp /run/vm/qmp.sock --name web
        godwit save --qmp /run/vm/qmp.sock --name web-now --live --disks ignore
        godwit save --qmp /run/vm/qmp.sock --name web-off --then quit
      """)

  static let cancelsInOrder = true

  @Option(
    help: ArgumentHelp(
      "The path of the QEMU's QMP socket, a Unix socket.", valueName: "socket"),
    completion: .file())
  var qmp: String

  @Option(help: ArgumentHelp("The new checkpoint's name.", valueName: "name"))
  var name: String

  @Flag(exclusivity: .exclusive)
  var mode: SaveModeFlag?

  @Option(help: "What the machine does once it is saved.")
  var then: AfterSave = .resume

  @Option(help: "Save although the guest goes on writing to its disks.")
  var disks: DiskChoice?

  @OptionGroup var exclusion: ExclusionOptions

  @Flag(help: "Store every page as it is.")
  var noCompression = false

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func perform(_ console: Console) async throws {
    let request = SaveRequest(
      qmp: qmp, name: name, mode: mode?.mode, then: then, ignoresDisks: disks == .ignore,
      compresses: !noCompression, excludedPages: exclusion.file)
    let store = try store.open(create: true)
    let result = try await Operations.save(request, store: store, observer: console.observer)
    console.result(result.lines, result.jsonMembers)
  }
}
