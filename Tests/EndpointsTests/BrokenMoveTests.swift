// What is remembered of a move whose link broke: it comes back as it was, and once.

import Foundation
import JSON
import Testing

@testable import Endpoints

@Suite struct BrokenMoveTests {
  static let move = BrokenMove(
    source: .init(
      capabilities: ["postcopy-ram": false, "multifd": true],
      parameters: [JSONMember("max-bandwidth", 134_217_728), JSONMember("tls-creds", "")]),
    destination: .init(capabilities: [:], parameters: []))

  @Test func `it is read as it was written`() throws {
    let text = Self.move.json.description
    #expect(BrokenMove(try JSONValue(parsing: text)) == Self.move)
  }

  @Test(arguments: ["{}", "[]", #"{"source":{"capabilities":{"a":1},"parameters":{}}}"#, "3"])
  func `what is something else is nothing`(text: String) throws {
    #expect(BrokenMove(try JSONValue(parsing: text)) == nil)
  }

  @Test func `it is recalled once, and a link in its place is not followed`() throws {
    let process = ProcessIdentity(pid: -7, startTicks: UInt64.random(in: 1...UInt64.max))
    let file = BrokenMove.file(of: process)
    defer { try? FileManager.default.removeItem(at: file) }
    #expect(BrokenMove.recall(process) == nil)
    try Data(Self.move.json.bytes()).write(to: file)
    #expect(BrokenMove.recall(process) == Self.move)
    #expect(BrokenMove.recall(process) == nil)

    let other = file.appendingPathExtension("other")
    defer { try? FileManager.default.removeItem(at: other) }
    try Data(Self.move.json.bytes()).write(to: other)
    try FileManager.default.createSymbolicLink(at: file, withDestinationURL: other)
    #expect(BrokenMove.recall(process) == nil)
  }

  @Test func `that of a source which has ended is taken away, that of one which lives is not`()
    throws
  {
    let own = try #require(ProcessIdentity(of: ProcessInfo.processInfo.processIdentifier))
    // The number is taken, by a process that started at another time.
    let ended = ProcessIdentity(pid: own.pid, startTicks: own.startTicks + 1)
    for process in [own, ended] {
      try Data(Self.move.json.bytes()).write(to: BrokenMove.file(of: process))
    }
    BrokenMove.forgetEnded()
    #expect(BrokenMove.recall(ended) == nil)
    #expect(BrokenMove.recall(own) == Self.move)
  }
}
