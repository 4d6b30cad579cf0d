// The process that fills a machine's memory while it runs; machines start it, not people.

import ArgumentParser
import Pager
import Transport

struct PagerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pager",
    abstract: "Fill a machine's memory while it runs, on the machine's behalf.",
    shouldDisplay: false)

  func run() throws {
    try PagerServer.serve(OwnedDescriptor(adopting: PagerServer.controlDescriptor))
  }
}
