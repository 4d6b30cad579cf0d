// The entry point: parses, runs one command, and turns the outcome into an exit code.

import ArgumentParser
import Glibc

/// The root command.
@main
struct Godwit: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "godwit",
    abstract: "Save running QEMU virtual machines and have them run again in milliseconds.",
    discussion: """
      A checkpoint is a machine at rest in a store: its memory page by page (each distinct page \
      stored once, whichever machine it came from), its device state and its configuration. \
      Godwit speaks QEMU's own migration protocol, so it works with the QEMU you have.

      EXAMPLES
        Save a running machine, and list what is stored:
          godwit save --qmp /run/vm/qmp.sock --name web
          godwit list

        Start eight clones of it, each running within milliseconds:
          godwit start web --count 8 -- qemu-system-x86_64 -machine pc -m 4096

      Exit codes: 0 done, 1 failed, 2 wrong usage. `godwit help COMMAND` explains a command.
      """,
    version: "0.1.0",
    subcommands: [KeepMonitorCommand.self, PagerCommand.self],
    groupedSubcommands: [
      CommandGroup(
        name: "Machines:",
        subcommands: [
          MigrateCommand.self, SaveCommand.self, RestoreCommand.self, StartCommand.self,
          ReceiveCommand.self, SendCommand.self, VMCommand.self,
        ]),
      CommandGroup(
        name: "The store:",
        subcommands: [
          ListCommand.self, ShowCommand.self, DeleteCommand.self, VerifyCommand.self,
          CollectCommand.self, InspectCommand.self,
        ]),
      CommandGroup(
        name: "About this machine:", subcommands: [DoctorCommand.self, DemoCommand.self]),
    ])

  static func main() async {
    Interruption.ignoreClosedPipes()
    do {
      var command = try await asyncParseAsRoot(
        MigrateCommand.spelledOut(Array(CommandLine.arguments.dropFirst())))
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let code as ExitCode {
      Glibc.exit(code.rawValue)
    } catch {
      let isHelp = exitCode(for: error).isSuccess
      let text = Array((fullMessage(for: error) + "\n").utf8)
      _ = isHelp ? StandardStream.output.write(text) : StandardStream.error.write(text)
      Glibc.exit(isHelp ? 0 : 2)
    }
  }
}
