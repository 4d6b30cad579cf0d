// `godwit vm`: Godwit's own machines.

import ArgumentParser

struct VMCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "vm",
    abstract: "Run virtual machines of Godwit's own.",
    subcommands: [VMRunCommand.self])
}
