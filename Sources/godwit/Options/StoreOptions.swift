// Which store a command works in.

import ArgumentParser
import CheckpointStore

/// The store's place.
struct StoreOptions: ParsableArguments, Sendable {
  @Option(
    name: .customLong("store"),
    help: ArgumentHelp(
      "The store's folder. (default: $GODWIT_STORE, else ~/.local/share/godwit)",
      valueName: "folder"),
    completion: .directory)
  private var given: String?

  /// Opens the store; makes one only where a command is going to fill it.
  func open(create: Bool = false) throws(StoreError) -> Store {
    try Store.open(at: path, create: create)
  }

  /// The store's folder, as given or by default.
  var path: String { given ?? Self.defaultPath }

  /// The store's folder where none is given: as the environment says, else the user's own.
  static var defaultPath: String {
    if let path = Environment.value(of: "GODWIT_STORE") { return path }
    return (Environment.value(of: "HOME") ?? "/root") + "/.local/share/godwit"
  }
}
