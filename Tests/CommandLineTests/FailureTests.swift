// What a person reads when something is not there, and what a program reads.

import Foundation
import JSON
import Testing

@Suite struct FailureTests {
  @Test(arguments: [["list"], ["show", "web"], ["delete", "web"], ["verify"], ["gc"]])
  func `without a store a command fails with one sentence`(arguments: [String]) throws {
    let outcome = try BuiltCommand.run(arguments)
    #expect(outcome.code == 1)
    #expect(outcome.output.isEmpty)
    #expect(outcome.errors.hasPrefix("godwit: "))
    #expect(outcome.errors.contains("/nonexistent/store"))
    #expect(outcome.errors.split(separator: "\n").count == 1)
  }

  @Test func `with --json a failure is an object on standard output`() throws {
    let outcome = try BuiltCommand.run(["list", "--json"])
    #expect(outcome.code == 1)
    #expect(outcome.errors.isEmpty)
    let last = try #require(outcome.objects().last)
    #expect(last["event"]?.string == "error")
    #expect(last["message"]?.string?.contains("/nonexistent/store") == true)
  }

  @Test func `--store wins over the environment`() throws {
    let outcome = try BuiltCommand.run(["list", "--store", "/nonexistent/other"])
    #expect(outcome.errors.contains("/nonexistent/other"))
  }

  @Test func `a reader that goes away early is no crash`() throws {
    #expect(try shell("set -o pipefail; \"$0\" help list | true") == 0)
  }

  @Test func `standard output closed from the start is no crash`() throws {
    #expect(try shell("\"$0\" doctor --json >&-") == 0)
  }

  /// Runs a line of bash, in which $0 is the executable.
  private func shell(_ line: String) throws -> Int32 {
    try ChildProcess("/bin/bash", ["-c", line, BuiltCommand.path]).waitForExit()
  }
}
