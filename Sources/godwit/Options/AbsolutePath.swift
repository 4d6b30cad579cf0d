// Paths that another process is to open, whose working directory may be another.

import Foundation

/// A path as a person writes it, made absolute.
enum AbsolutePath {
  /// The path from the root on.
  static func of(_ path: String) -> String {
    guard !path.hasPrefix("/") else { return path }
    return URL(fileURLWithPath: path).standardizedFileURL.path
  }
}
