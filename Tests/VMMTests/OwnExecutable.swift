// The godwit that was built with the tests: what machines run as their pager.

import Foundation

/// Finds the executable.
enum OwnExecutable {
  /// What a machine in a test runs as its pager.
  static func pagerCommand() throws -> [String] { [try path(), "pager"] }

  /// The executable beside the test bundle, where the build puts every product.
  private static func path() throws -> String {
    if let named = ProcessInfo.processInfo.environment["GODWIT_EXECUTABLE"] { return named }
    var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    while folder.path != "/" {
      let candidate = folder.appendingPathComponent("godwit").path
      if FileManager.default.isExecutableFile(atPath: candidate) { return candidate }
      folder.deleteLastPathComponent()
    }
    throw Missing()
  }

  private struct Missing: Error, CustomStringConvertible {
    let description = "there is no godwit beside the tests; set GODWIT_EXECUTABLE"
  }
}
