// Which pages a machine leaves out of what it sends.

import ArgumentParser
import Foundation

/// The operator's file of pages that nobody needs.
struct ExclusionOptions: ParsableArguments, Sendable {
  /// Its absolute path: the machine opens it, whose working directory may be another.
  @Option(
    name: .customLong("exclude"),
    help: ArgumentHelp(
      "Leave out the pages that a file of bitmaps names (a machine of `godwit vm run`).",
      valueName: "file"),
    completion: .file(), transform: Self.absolute)
  var file: String?

  private static func absolute(_ path: String) -> String {
    guard !path.hasPrefix("/") else { return path }
    return URL(fileURLWithPath: path).standardizedFileURL.path
  }
}
