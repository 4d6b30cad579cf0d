// A stopped machine moves into another one: over sockets, through a file; or it does not, and
// then nothing was lost here and nothing begun there.

import Foundation
import QMP
import Testing
import Transport

@testable import VMM

@Suite(.enabled(if: StateGuest.isPossible, "needs /dev/kvm"), .serialized)
struct MachineMoveTests {
  @Test(
    .timeLimit(.minutes(2)),
    arguments: [
      ("unix:", ["return-path"]), ("unix:", []), ("tcp:127.0.0.1:0", ["return-path"]),
      ("tcp:127.0.0.1:0", ["return-path", "postcopy-ram"]),
    ] as [(String, Set<String>)])
  func `a machine moves over a socket, every byte of its memory with it`(
    address: String, capabilities: Set<String>
  ) throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true)
    try target.receive(
      address == "unix:" ? address + MovingMachine.path("sock") : address, capabilities)
    #expect(target.machine.migration.account.status == .setup)
    try source.send(target.listeningAddress, capabilities)
    let sent = try source.migrationEnd()
    #expect(sent.failure == nil)
    #expect(sent.status == .completed)
    #expect(sent.ram?.totalByteCount == UInt64(MovingMachine.byteCount))
    #expect(sent.ram?.remainingByteCount == 0)
    #expect(source.machine.runState == .postMigrate)
    // An event comes just behind the state that it tells of.
    try source.wait("the last event") { source.events.all.last == .status(.completed) }
    #expect(
      source.events.all == [
        .status(.setup), .status(.active), .pass(1), .pass(2), .status(.device), .pass(3),
        .status(.completed),
      ])

    #expect(try target.migrationEnd().failure == nil)
    #expect(target.machine.runState == .paused, "it was told to stay so")
    #expect(try target.memory() == source.memory())
    #expect(try target.instructionPointer() == source.instructionPointer())
    try target.machine.cont()
    try target.requireHealth()
    #expect(
      target.events.all == [.status(.setup), .status(.active), .status(.completed)],
      "no 'device' is told where a machine comes, as by QEMU")
    let (last, first) = (try #require(source.reports.last), try #require(target.reports.first))
    #expect(first.written >= last.written)
  }

  @Test(.timeLimit(.minutes(2)))
  func `a machine that was paused when it was sent stays so, and through a file as well`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    try source.machine.stop()
    let file = MovingMachine.path("stream")
    defer { try? FileManager.default.removeItem(atPath: file) }
    for scheme in ["file:", "exec:cat > "] {
      try source.send(scheme + file)
      #expect(try source.migrationEnd().status == .completed)
      #expect(source.machine.runState == .postMigrate)
      let target = try MovingMachine(isIncoming: true)
      try target.machine.cont()
      try target.receive("file:" + file)
      #expect(try target.migrationEnd().failure == nil)
      #expect(target.machine.runState == .paused)
      #expect(try target.memory() == source.memory())
      try source.machine.cont()
      try source.requireHealth()
      try source.machine.stop()
    }
  }

  @Test(.timeLimit(.minutes(2)))
  func `what cannot take the machine says why, and the machine goes on where it was`() throws {
    let source = try MovingMachine()
    let target = try MovingMachine(isIncoming: true, byteCount: 32 << 20)
    try target.receive("unix:" + MovingMachine.path("sock"), ["return-path"])
    try source.requireHealth()
    try source.send(target.listeningAddress, ["return-path"])
    let failure = try #require(try target.migrationEnd().failure)
    #expect(failure.contains("'pc.ram' has 16 MiB"), "\(failure)")
    #expect(failure.contains("--memory 16M"), "\(failure)")
    #expect(target.machine.runState == .inMigrate)
    #expect(try source.migrationEnd().status == .failed)
    try source.requireHealth()
    #expect(source.machine.runState == .running)

    // Nobody there, no such file, and nothing that answers.
    for uri in ["unix:/nonexistent/godwit", "tcp:127.0.0.1:1", "file:/nonexistent/godwit"] {
      try source.send(uri)
      let account = try source.migrationEnd()
      #expect(account.status == .failed)
      #expect(account.failure?.hasSuffix(".") == true, "\(account)")
      #expect(source.machine.runState == .running)
    }
    try source.requireHealth()
  }

  @Test(.timeLimit(.minutes(2)))
  func `a migration that is cancelled leaves the machine running`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    // Nobody reads: the transfer stands as soon as the socket's room is taken.
    let listener = try Listener(.unix(path: MovingMachine.path("sock")))
    try source.send("\(listener.address)", ["return-path"])
    let silent = try listener.accept(timeout: .seconds(10))
    while source.machine.migration.account.status == .setup { usleep(1000) }
    try source.machine.migration.cancel()
    #expect(try source.migrationEnd().status == .cancelled)
    #expect(source.machine.runState == .running)
    try source.requireHealth()
    silent.shutdownBoth()
    #expect(throws: Never.self) { try source.machine.migration.cancel() }
  }

  @Test(.timeLimit(.minutes(4)))
  func `a stream that is cut anywhere loads nothing`() throws {
    let stream = try Self.stream()
    let pristine = try MovingMachine(isIncoming: true).instructionPointer()
    let tail = stream.count - 40_000
    let places =
      [0, 3, 7, 20, 64, 70, 200] + (1..<6).map { stream.count / 6 * $0 }
      + (0..<12).map { tail + 40_000 / 12 * $0 } + [stream.count - 1]
    for place in places {
      let target = try MovingMachine(isIncoming: true)
      let account = try Self.load(stream.prefix(place), into: target)
      #expect(account.status == .failed, "cut after \(place) of \(stream.count) bytes")
      #expect(account.failure?.isEmpty == false)
      #expect(target.machine.runState == .inMigrate)
      #expect(try target.instructionPointer() == pristine, "cut after \(place)")
    }
    let target = try MovingMachine(isIncoming: true)
    #expect(try Self.load(stream, into: target).failure == nil)
    #expect(try target.instructionPointer() != pristine)
  }

  @Test(
    .timeLimit(.minutes(2)),
    arguments: [
      // Of a device: its instance, then its version.
      ("serial", [0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 99], "device serial"),
      ("kvmclock", [0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 5, 0, 0, 0, 1], "device kvmclock"),
      ("ioapic", [0, 0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 0, 2], "version 2"),
    ] as [(String, [UInt8], [UInt8], String)])
  func `a device of a newer build, or of another machine, is refused by its name`(
    name: String, found: [UInt8], planted: [UInt8], words: String
  ) throws {
    var stream = try Self.stream()
    let header = Data([UInt8(name.utf8.count)] + Array(name.utf8) + found)
    let place = try #require(stream.range(of: header))
    stream.replaceSubrange(
      place, with: [UInt8(name.utf8.count)] + Array(name.utf8) + planted)
    let target = try MovingMachine(isIncoming: true)
    let pristine = try target.instructionPointer()
    let failure = try #require(try Self.load(stream, into: target).failure)
    #expect(failure.contains(words), "\(failure)")
    #expect(failure.contains(name), "\(failure)")
    #expect(target.machine.runState == .inMigrate)
    #expect(try target.instructionPointer() == pristine)
  }

  @Test(.timeLimit(.minutes(2)))
  func `a machine of another type, or with another block, is refused`() throws {
    let stream = try Self.stream()
    let changes = [
      ("godwit-pc-1", "godwit-pc-9", "'godwit-pc-9'"), ("pc.ram", "pc.rom", "'pc.rom'"),
    ]
    for (old, new, words) in changes {
      var changed = stream
      while let place = changed.range(of: Data(old.utf8)) {
        changed.replaceSubrange(place, with: Data(new.utf8))
      }
      let target = try MovingMachine(isIncoming: true)
      let failure = try #require(try Self.load(changed, into: target).failure)
      #expect(failure.contains(words), "\(failure)")
    }
  }

  /// A machine's stream, as a file holds it.
  private static func stream() throws -> Data {
    let source = try MovingMachine()
    try source.requireHealth()
    let file = MovingMachine.path("stream")
    defer { try? FileManager.default.removeItem(atPath: file) }
    try source.send("file:" + file)
    #expect(try source.migrationEnd().failure == nil)
    return try Data(contentsOf: URL(fileURLWithPath: file))
  }

  /// Has a machine load a stream, and says how that ended.
  private static func load(_ stream: Data, into target: MovingMachine) throws -> MigrationAccount {
    let file = MovingMachine.path("stream")
    defer { try? FileManager.default.removeItem(atPath: file) }
    try stream.write(to: URL(fileURLWithPath: file))
    try target.receive("file:" + file)
    return try target.migrationEnd()
  }
}
