// The repository's own files, as the tidy tests read them.

import Foundation

/// One text file of the repository.
struct SourceFile: CustomStringConvertible {
  /// Relative to the repository's top.
  let path: String
  let lines: [String]

  var description: String { path }
  /// The target it belongs to: the folder below Sources/ or Tests/.
  var module: String { path.split(separator: "/").dropFirst().first.map(String.init) ?? "" }
  var name: String { path.split(separator: "/").last.map(String.init) ?? path }
  var text: String { lines.joined(separator: "\n") }

  /// The modules it imports.
  var imports: [String] {
    lines.compactMap { line in
      let words = line.split(separator: " ")
      guard let index = words.firstIndex(of: "import"), index + 1 < words.count,
        words[..<index].allSatisfy({ Self.importModifiers.contains(String($0)) })
      else { return nil }
      return words[index + 1].split(separator: ".").first.map(String.init)
    }
  }

  /// Lines of code: without comments, and with string literals emptied.
  var codeLines: [String] {
    lines.map { line in
      let code = line.replacing(/"([^"\\]|\\.)*"/, with: "\"\"")
      return code.split(separator: "//", maxSplits: 1, omittingEmptySubsequences: false)
        .first.map(String.init) ?? ""
    }
  }

  private static let importModifiers: Set = [
    "@testable", "@preconcurrency", "public", "internal", "package", "private", "fileprivate",
  ]
}

/// The checkout that these tests were built from.
enum SourceTree {
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// All files below a folder whose names end so; what is hidden, builds above all, is left out.
  static func files(below folder: String, suffixes: [String] = [".swift"]) -> [SourceFile] {
    let base = root.appendingPathComponent(folder)
    let names =
      FileManager.default.enumerator(atPath: base.path)?.compactMap { $0 as? String } ?? []
    return names.sorted()
      .filter { !$0.split(separator: "/").contains { $0.hasPrefix(".") } }
      .filter { name in suffixes.contains { name.hasSuffix($0) } }
      .compactMap { file("\(folder)/\($0)") }
  }

  /// One file, or nil where there is none that is text.
  static func file(_ path: String) -> SourceFile? {
    let url = root.appendingPathComponent(path)
    guard let text = try? String(contentsOf: url, encoding: .utf8) else { return nil }
    return SourceFile(path: path, lines: text.components(separatedBy: "\n"))
  }
}
