// A first look at the file of `--exclude`, before a move touches anything.

import Foundation

/// What can be told about a file of excluded pages without the machine that will read it.
///
/// The machine reads it when the move begins, and refuses it then with all that is wrong; by that
/// time the destination has been told to wait, and is used up.
enum ExclusionCheck {
  /// What a file with a header begins with (Docs/Formats/Exclusion.md).
  private static let magic = Data("GODWITXB".utf8)
  private static let headerByteCount: UInt64 = 16
  /// The most that an entry has beside its bitmap: two numbers and a name.
  private static let entryByteCount: UInt64 = 10 + 255

  /// Refuses a file that no machine with these blocks takes.
  static func check(_ path: String?, for blocks: [RAMBlockFact]) throws(MoveError) {
    guard let path else { return }
    func refused(_ reason: String) -> MoveError {
      MoveError(.refused, "The file '\(path)' of --exclude cannot be used: \(reason).")
    }
    // Links are followed, as the machine does.
    let real = URL(fileURLWithPath: path).resolvingSymlinksInPath().path
    guard let attributes = try? FileManager.default.attributesOfItem(atPath: real) else {
      throw refused("it does not exist, or cannot be looked at")
    }
    guard attributes[.type] as? FileAttributeType == .typeRegular,
      let size = (attributes[.size] as? NSNumber)?.uint64Value
    else { throw refused("it is not a regular file") }
    guard let file = FileHandle(forReadingAtPath: real) else { throw refused("it cannot be read") }
    defer { try? file.close() }
    guard size > 0 else { throw refused("it is empty") }
    let bitmaps = blocks.map { ($0.usedLength / 4096 + 7) / 8 }
    let limit = bitmaps.reduce(headerByteCount) { $0 + $1 + entryByteCount }
    guard size <= limit else {
      throw refused(
        "it has \(size) bytes, more than the \(limit) that a machine of this size can have in one")
    }
    let beginning = try? file.read(upToCount: magic.count)
    guard beginning != magic, blocks.count == 1, let expected = bitmaps.first else { return }
    guard size == expected else {
      throw refused(
        "it does not begin with GODWITXB, and has \(size) bytes: a bitmap of this machine has "
          + "\(expected), one bit for each of its pages of 4 KiB")
    }
  }
}
