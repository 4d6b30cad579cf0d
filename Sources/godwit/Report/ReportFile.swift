// A file that appears whole or not at all, and whose place is known to be writable beforehand.

import Foundation

/// A report on its way to its file; nothing of it is there before it is written.
struct ReportFile {
  private let path: String

  /// Why the file cannot be made, as a sentence.
  struct Unwritable: Error, CustomStringConvertible {
    let path: String
    let reason: String

    var description: String {
      "The report cannot be written to \(path): \(reason)"
    }
  }

  /// Makes sure that the file can be written, without touching what may be there.
  init(at path: String) throws(Unwritable) {
    self.path = path
    do {
      let place = try Self.place(of: path)
      // Anybody's file may be beside it: the name is nobody's.
      let trial = place.deletingLastPathComponent()
        .appendingPathComponent("godwit-report-\(UUID().uuidString).partial")
      try Data().write(to: trial, options: .withoutOverwriting)
      try FileManager.default.removeItem(at: trial)
    } catch {
      throw Unwritable(path: path, reason: Self.reason(error) + " Nothing was begun.")
    }
  }

  /// Writes the page, in place of the file that was there.
  func write(_ page: MigrationPage) throws(Unwritable) {
    do {
      // Looked at once more: a move takes long.
      try Data(page.html.utf8).write(to: try Self.place(of: path), options: .atomic)
    } catch {
      throw Unwritable(path: path, reason: Self.reason(error))
    }
  }

  /// The file itself, where a symbolic link leads to it; throws where something else is there.
  private static func place(of path: String) throws -> URL {
    var place = URL(fileURLWithPath: path)
    for _ in 0..<40 {
      guard
        let target = try? FileManager.default.destinationOfSymbolicLink(atPath: place.path)
      else {
        try refuseOther(place)
        return place
      }
      place =
        URL(fileURLWithPath: target, relativeTo: place.deletingLastPathComponent())
        .absoluteURL
    }
    throw Refusal("too many symbolic links lead to it.")
  }

  /// A pipe or a device that a file took the place of would be gone for everybody.
  private static func refuseOther(_ place: URL) throws {
    let attributes = try? FileManager.default.attributesOfItem(atPath: place.path)
    switch attributes?[.type] as? FileAttributeType {
    case nil, .typeRegular?: return
    case .typeDirectory?: throw Refusal("it is a folder.")
    default: throw Refusal("it is there already and is no regular file.")
    }
  }

  private struct Refusal: Error {
    let reason: String

    init(_ reason: String) { self.reason = reason }
  }

  private static func reason(_ error: any Error) -> String {
    if let refusal = error as? Refusal { return refusal.reason }
    // The sentence of the error itself names the file that was tried.
    guard let code = (error as? CocoaError)?.code else { return Sentence.about(error) }
    switch code {
    case .fileNoSuchFile, .fileReadNoSuchFile: return "its folder does not exist."
    case .fileWriteNoPermission: return "this user may not write there."
    case .fileWriteOutOfSpace: return "there is no room left."
    case .fileWriteVolumeReadOnly: return "the file system is read-only."
    default: return Sentence.about(error)
    }
  }
}
