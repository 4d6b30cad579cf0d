// The table of states in the documents is that of the code.

import Foundation
import MigrationCore
import Testing

@Test func `the documented table of states is the code's`() throws {
  let document = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appending(path: "Docs/Engines.md")
  let text = try String(contentsOf: document, encoding: .utf8)
  for (status, successors) in MigrationStatus.successors {
    let names = successors.map(\.rawValue).sorted().joined(separator: ", ")
    let row = names.isEmpty ? "| \(status.rawValue) | |" : "| \(status.rawValue) | \(names) |"
    #expect(text.contains(row), "\(row)")
  }
}
