// The process that fills a machine's memory while it runs; machines start it, not people.

import ArgumentParser
import Endpoints
import MigrationEngine
import Pager
import Transport

struct PagerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pager",
    abstract: "Fill a machine's memory while it runs, on the machine's behalf.",
    shouldDisplay: false)

  @Flag(help: "Take pages by their hashes.")
  var takesKnownPages = false

  @Option(help: "Pages that are held here already: store:FOLDER/NAME, elf:FILE or raw:FILE.")
  var known: [String] = []

  @Flag(help: "The machine comes back into memory that it left behind.")
  var keepsMemory = false

  @Flag(help: "Requested pages come over a channel of their own.")
  var takesPreempt = false

  func run() throws {
    try PagerServer.serve(
      OwnedDescriptor(adopting: PagerServer.controlDescriptor),
      knownContent: takesKnownPages ? contents : nil, keepsMemory: keepsMemory,
      takesPreempt: takesPreempt)
  }

  /// What is held; what cannot be opened any more is not, and its pages come with their content.
  private var contents: [any KnownContent] {
    known.compactMap { KnownContentPlace($0) }.compactMap { try? CheckpointPages.open($0) }
  }
}
