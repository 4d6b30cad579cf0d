// Bringing files into the kernel's page cache.

import Foundation

/// The kernel's memory of files.
enum PageCache {
  /// Reads every file of a folder once.
  static func read(folder: String) throws {
    for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
      let file = try FileHandle(forReadingFrom: URL(fileURLWithPath: "\(folder)/\(name)"))
      while let part = try file.read(upToCount: 1 << 20), !part.isEmpty {}
    }
  }
}
