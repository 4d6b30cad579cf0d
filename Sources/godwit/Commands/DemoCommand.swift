// `godwit demo`: the main job, from nothing, on this machine.

import ArgumentParser
import Demonstration
import Endpoints

struct DemoCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "demo",
    abstract: "Save, clone, restore and move a real guest on this machine, from nothing.",
    discussion: """
      Starts a small guest in QEMU that checks its own memory all the time, saves it while it \
      runs, saves it again, starts clones of it, restores it instantly. Then moves a \
      running machine of Godwit's own to another process and back while its guest writes, and \
      prints what each step cost. Without a QEMU only the machine moves; without /dev/kvm a thread \
      of the host does its guest's work. Works in a temporary folder with a store of its own and \
      leaves nothing behind.

      EXAMPLES
        godwit demo
        godwit demo --memory 1024 --clones 8
      """)

  static let cancelsInOrder = true

  @Option(
    help: ArgumentHelp(
      "The QEMU and its arguments in one word. (default: the first of the PATH and $GODWIT_QEMU)",
      valueName: "command"))
  var qemu: String?

  @Option(help: ArgumentHelp("The guest's memory.", valueName: "MiB"))
  var memory = 256

  @Option(help: ArgumentHelp("How many clones to start.", valueName: "number"))
  var clones = 3

  @OptionGroup var general: GeneralOptions

  func validate() throws {
    guard (64...65_536).contains(memory), memory.isMultiple(of: 2) else {
      throw ValidationError("--memory takes an even number of MiB from 64 to 65536.")
    }
    guard (1...64).contains(clones) else {
      throw ValidationError("--clones takes a number from 1 to 64.")
    }
    if let qemu, InstalledQEMU.commands(listedIn: qemu).count != 1 {
      throw ValidationError("--qemu takes one command.")
    }
  }

  func perform(_ console: Console) async throws {
    var options = Demonstration.Options()
    options.qemu = qemu.flatMap { InstalledQEMU.commands(listedIn: $0).first }
    options.memoryMegabytes = memory
    options.cloneCount = clones
    let report = try await Demonstration.run(options, observer: console.observer)
    console.result(report.lines, report.jsonMembers)
  }
}
