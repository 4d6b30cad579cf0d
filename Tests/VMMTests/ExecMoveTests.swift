// Machines that go through a command (exec:), which this side ends, or which ends by itself in its
// own way: there is one machine that runs afterwards, or one and a person who has to look.

import Foundation
import Glibc
import Pager
import QMP
import Testing

@testable import VMM

@Suite(.serialized) struct ExecMoveTests {
  /// Two pipes with names, and the commands that lead a stream through them and answers back.
  private struct Pipes {
    let there = MovingMachine.path("there")
    let back = MovingMachine.path("back")

    init() throws {
      for path in [there, back] { try #require(mkfifo(path, 0o600) == 0) }
    }

    // The shell gives commands in the background another input unless they take it from elsewhere.
    var source: String { "exec:exec 3<&0; cat <&3 >\(there) & exec cat \(back)" }
    var target: String { "exec:exec 3<&0; cat <&3 >\(back) & exec cat \(there)" }

    func remove() { for path in [there, back] { unlink(path) } }
  }

  private static let capabilities: [Set<String>] =
    [["return-path"]] + (PagerSession.isOffered ? [["return-path", "postcopy-ram"]] : [])

  @Test(.timeLimit(.minutes(2)), arguments: capabilities)
  func `a machine whose destination confirms it through a command runs there alone`(
    capabilities: Set<String>
  ) throws {
    let pipes = try Pipes()
    defer { pipes.remove() }
    let source = try MovingMachine(accelerator: .synthetic)
    let target = try MovingMachine(isIncoming: true, runsOn: true, accelerator: .synthetic)
    try target.receive(pipes.target, capabilities)
    try source.send(pipes.source, capabilities) { $0.set("max-bandwidth", 0) }
    if capabilities.contains("postcopy-ram") { try source.machine.migration.startPostcopy() }
    let sent = try source.migrationEnd()
    #expect(sent.failure == nil)
    #expect(sent.status == .completed)
    #expect(source.machine.runState == .postMigrate)
    #expect(try target.migrationEnd().failure == nil)
    #expect(target.machine.runState == .running)
    try target.requireHealth(reports: 1)
  }

  @Test(.timeLimit(.minutes(2)))
  func `a command that fails behind the whole machine leaves it to a person who has looked`() throws
  {
    let source = try MovingMachine(accelerator: .synthetic)
    try source.send("exec:cat > /dev/null; exit 3")
    let account = try source.migrationEnd()
    #expect(account.status == .failed)
    let words = try #require(account.failure)
    #expect(words.contains("status 3"), "\(words)")
    #expect(words.contains("cont lets it go on here"), "\(words)")
    #expect(source.machine.runState == .paused)
    try source.machine.cont()
    #expect(source.machine.runState == .running)
  }

  @Test(.timeLimit(.minutes(2)))
  func `a command that ends before it has taken the machine leaves it running`() throws {
    let source = try MovingMachine(accelerator: .synthetic)
    try source.send("exec:head -c 100000 > /dev/null; exit 3")
    #expect(try source.migrationEnd().status == .failed)
    #expect(source.machine.runState == .running)
  }
}
