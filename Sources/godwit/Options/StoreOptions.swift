// Which store a command works in.

import ArgumentParser

/// The store's place.
struct StoreOptions: ParsableArguments, Sendable {
  @Option(
    name: .customLong("store"),
    help: ArgumentHelp(
      "The store's folder. (default: $GODWIT_STORE, else ~/.local/share/godwit)",
      valueName: "folder"),
    completion: .directory)
  private var given: String?

  /// The store's folder: as given, else as the environment says, else the user's own.
  var path: String {
    if let given { return given }
    if let path = Environment.value(of: "GODWIT_STORE") { return path }
    return (Environment.value(of: "HOME") ?? "/root") + "/.local/share/godwit"
  }
}
