// A file in which a test, as an operator, names pages that nobody needs.

import Foundation

/// A file of bitmaps for the test's life.
final class ExclusionFile {
  let path = NSTemporaryDirectory() + "gwexclude-\(UUID().uuidString)"

  /// One without a header, for a machine with one block: of so many bytes, `set` are all ones.
  init(byteCount: Int, set: Range<Int> = 0..<0) throws {
    var bitmap = Data(count: byteCount)
    for index in set { bitmap[index] = 0xff }
    try bitmap.write(to: URL(fileURLWithPath: path))
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }
}
