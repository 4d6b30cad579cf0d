// Help and wrong usage: what a person meets before anything is done.

import Foundation
import JSON
import Testing
import Transport

@testable import godwit

@Suite struct UsageTests {
  /// A command, as it is typed, and what the parser says of it.
  private struct Command {
    let words: [String]
    let description: JSONValue
    var name: String { words.joined(separator: " ") }
  }

  /// Every command a person may use, with its flags, as the parser itself describes them.
  private func commands() throws -> [Command] {
    let outcome = try BuiltCommand.run(["--experimental-dump-help"])
    let dump = try JSONValue(parsing: outcome.output)
    return try commands(below: dump["command"] ?? [:], words: [])
  }

  /// The commands of a group; a command that is a group itself stands for its own.
  private func commands(below group: JSONValue, words: [String]) throws -> [Command] {
    var found: [Command] = []
    for command in group["subcommands"]?.array ?? [] {
      let name = try #require(command["commandName"]?.string)
      guard name != "help", command["shouldDisplay"]?.bool != false else { continue }
      let inner = try commands(below: command, words: words + [name])
      found += inner.isEmpty ? [Command(words: words + [name], description: command)] : inner
    }
    return found
  }

  @Test func `godwit alone shows its commands and exits with 0`() throws {
    let outcome = try BuiltCommand.run([])
    #expect(outcome.code == 0)
    #expect(outcome.output.contains("doctor"))
    #expect(outcome.errors.isEmpty)
  }

  @Test func `each command's help suffices: an example, and every flag with an explanation`() throws
  {
    let commands = try commands()
    #expect(commands.count >= 6)
    for command in commands {
      let name = command.name
      let help = try BuiltCommand.run(["help"] + command.words).output
      #expect(help.contains("EXAMPLE"), "\(name) shows no example")
      #expect(help.contains("--json"), "\(name) has no --json")
      for argument in command.description["arguments"]?.array ?? [] {
        let label = argument["valueName"]?.string ?? ""
        #expect(argument["abstract"]?.string?.isEmpty == false, "\(name): \(label) is unexplained")
        for spelling in argument["names"]?.array ?? [] where spelling["kind"]?.string == "long" {
          let flag = "--" + (spelling["name"]?.string ?? "")
          #expect(help.contains(flag), "\(name)'s help leaves out \(flag)")
        }
      }
    }
  }

  @Test func `the command line's document names every command and option`() throws {
    let url = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("../../Docs/CommandLine.md")
    let document = try String(contentsOf: url, encoding: .utf8)
    for command in try commands() {
      let name = command.name
      #expect(document.contains("`\(name)"), "\(name) is not in the document")
      let row = document.split(separator: "\n").last {
        $0.hasPrefix("| `\(name)`") || ($0.hasPrefix("| `send`") && $0.contains("`\(name)`"))
      }
      for argument in command.description["arguments"]?.array ?? [] {
        for spelling in argument["names"]?.array ?? [] where spelling["kind"]?.string == "long" {
          let flag = "--" + (spelling["name"]?.string ?? "")
          guard !["--json", "--help", "--version"].contains(flag) else { continue }
          #expect(row?.contains(flag) == true, "\(name)'s row leaves out \(flag)")
        }
      }
    }
  }

  @Test(arguments: [
    ["frobnicate"], ["list", "--nonsense"], ["show"], ["delete"], ["gc", "--wait", "soon"],
    ["verify", "one", "two"], ["save", "--name", "a"], ["restore", "a"], ["start", "a"],
    ["save", "--qmp", "/s", "--name", "a", "--live", "--paused"],
    ["save", "--qmp", "/s", "--name", "a", "--then", "explode"],
    ["restore", "a", "--qmp", "/s", "--eager", "--recover"],
    ["start", "a", "--count", "0", "--", "q"],
    ["receive", "nowhere", "--name", "a"], ["send", "a", "tcp:host"],
    ["receive", "file:a", "--name", "a", "--page-size", "1000"],
  ])
  func `wrong usage exits with 2 and explains itself on standard error`(arguments: [String]) throws
  {
    let outcome = try BuiltCommand.run(arguments)
    #expect(outcome.code == 2)
    #expect(outcome.output.isEmpty)
    #expect(outcome.errors.contains("Usage: godwit"))
  }

  @Test func `a socket path that is too long is refused with its length`() throws {
    let path = "/tmp/" + String(repeating: "x", count: 120)
    let outcome = try BuiltCommand.run(
      ["vm", "run", "--accel", "synthetic", "--demo-guest", "--memory", "16M", "--qmp", path])
    #expect(outcome.code == 2, "\(outcome.errors)")
    #expect(outcome.errors.contains("at most 107 bytes, this one has 125"))
  }

  @Test func `a socket may be written with its scheme`() throws {
    for text in ["x.sock", "unix:x.sock"] {
      let options = try MachineOptions.parse(["--memory", "16M", "--qmp", text])
      #expect(try options.qmpAddress() == .unix(path: "x.sock"))
    }
  }

  @Test(arguments: ["bash", "zsh", "fish"])
  func `completions exist for every shell and know the commands`(shell: String) throws {
    let outcome = try BuiltCommand.run(["--generate-completion-script", shell])
    #expect(outcome.code == 0)
    for command in try commands() {
      #expect(outcome.output.contains(command.words.last ?? "?"))
    }
  }
}
