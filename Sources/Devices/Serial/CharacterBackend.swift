// Where a character device's bytes go to and come from.

/// What a serial port or console is connected to, as a person chooses it.
public enum CharacterBackend: Equatable, Sendable {
  /// Output is dropped; there is no input.
  case none
  /// This process's standard input and output.
  case stdio
  /// Output goes to a file that is made anew; there is no input.
  case file(path: String)
  /// A Unix socket is listened on; one client at a time. Output without a client is dropped.
  case unix(path: String)

  /// Reads `none`, `stdio`, `file:PATH` or `unix:PATH`; nil for anything else.
  public init?(_ text: String) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    let argument = parts.count == 2 ? String(parts[1]) : ""
    switch (parts.first ?? "", argument.isEmpty, parts.count) {
    case ("none", true, 1): self = .none
    case ("stdio", true, 1): self = .stdio
    case ("file", false, 2): self = .file(path: argument)
    case ("unix", false, 2): self = .unix(path: argument)
    default: return nil
    }
  }
}
