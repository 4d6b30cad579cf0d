// Documents can be found: each is linked from another, and no link leads nowhere.

import Foundation
import Testing

@Suite struct DocumentTests {
  static let documents =
    SourceTree.files(below: "Docs", suffixes: [".md"])
    + ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].compactMap(SourceTree.file)

  /// The files that a document links to, relative to the repository's top.
  static func links(of document: SourceFile) -> [String] {
    let base = SourceTree.root.appendingPathComponent(document.path).deletingLastPathComponent()
    return document.text.matches(of: /\]\(([^)#\s]+)(#[^)]*)?\)/)
      .map { String($0.output.1) }
      .filter { !$0.contains("://") }
      .map { base.appendingPathComponent($0).standardizedFileURL.path }
      .map { String($0.dropFirst(SourceTree.root.standardizedFileURL.path.count + 1)) }
  }

  @Test func `every document is linked from another one`() {
    for document in Self.documents where document.path.hasPrefix("Docs/") {
      let linkers = Self.documents.filter {
        $0.path != document.path && Self.links(of: $0).contains(document.path)
      }
      #expect(!linkers.isEmpty, "nothing links to \(document)")
    }
  }

  @Test func `every link leads to a file`() {
    for document in Self.documents {
      for link in Self.links(of: document) {
        let exists = FileManager.default.fileExists(
          atPath: SourceTree.root.appendingPathComponent(link).path)
        #expect(exists, "\(document) links to \(link), which is not there")
      }
    }
  }
}
