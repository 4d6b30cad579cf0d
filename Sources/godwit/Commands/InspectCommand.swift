// `godwit inspect`: what is in a stream file or a checkpoint.

import ArgumentParser
import CheckpointStore
import Endpoints
import Foundation
import JSON
import Wire

struct InspectCommand: GodwitCommand {
  static let configuration = CommandConfiguration(
    commandName: "inspect",
    abstract: "Show what is in a migration stream's file, or in a checkpoint.",
    discussion: """
      Shows the machine, the RAM blocks with their pages, the parts of the stream and its \
      devices. A page is zero; or it has content, which is unique or shared: in a stream, with a \
      page before it; in a checkpoint, with another checkpoint.

      A path that exists is a file; any other word is a checkpoint's name.

      EXAMPLES
        godwit inspect saved.stream
        godwit inspect web --device 0000:00:02.0/vga
        godwit inspect web --pages --json
      """)

  @Argument(
    help: ArgumentHelp("A file that holds a stream, or a checkpoint's name.", valueName: "subject"),
    completion: .checkpointName)
  var subject: String

  @Option(
    help: ArgumentHelp(
      "Show this device's state, field by field, instead; the end of its name will do.",
      valueName: "name"))
  var device: String?

  @Flag(help: "Show also which pages of each block have content, as ranges of bytes.")
  var pages = false

  @OptionGroup var store: StoreOptions
  @OptionGroup var general: GeneralOptions

  func perform(_ console: Console) async throws {
    let inspection = try inspect(console)
    if let device {
      try DeviceReport(inspection, device).write(to: console)
    } else {
      try InspectionReport(inspection, listsRuns: pages).write(to: console)
    }
  }

  private func inspect(_ console: Console) throws -> Inspection {
    let attributes = try? FileManager.default.attributesOfItem(atPath: subject)
    guard let attributes else {
      return try Inspection(of: try store.open().checkpoint(named: subject))
    }
    let size = (attributes[.size] as? NSNumber)?.uint64Value ?? 0
    return try Inspection(ofStreamAt: subject) { bytesRead in
      console.show("reading", StoreProgress(done: bytesRead, total: size), countsBytes: true)
    }
  }
}
