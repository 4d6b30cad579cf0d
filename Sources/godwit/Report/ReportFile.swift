// A file that appears whole or not at all, and whose place is known to be writable beforehand.

import Foundation

/// A report on its way to its file; an empty file beside it shows until then that there is room.
final class ReportFile {
  private let path: String
  private let partial: URL

  /// Why the file cannot be made, as a sentence.
  struct Unwritable: Error, CustomStringConvertible {
    let path: String
    let reason: String

    var description: String {
      "The report cannot be written to \(path): \(reason) Nothing was begun."
    }
  }

  /// Makes sure that the file can be written, without touching what may be there.
  init(at path: String) throws(Unwritable) {
    self.path = path
    partial = URL(fileURLWithPath: path + ".partial")
    let place = URL(fileURLWithPath: path)
    if (try? place.resourceValues(forKeys: [.isDirectoryKey]))?.isDirectory == true {
      throw Unwritable(path: path, reason: "it is a folder.")
    }
    do {
      try Data().write(to: partial)
    } catch {
      throw Unwritable(path: path, reason: error.localizedDescription)
    }
  }

  deinit { try? FileManager.default.removeItem(at: partial) }

  /// Writes the page, in place of what was there.
  func write(_ page: MigrationPage) throws {
    try Data(page.html.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
  }
}
