// A machine moves to where a good part of it is held already.

import Foundation
import MigrationEngine
import QMP
import Testing

@testable import VMM

@Suite(.enabled(if: StateGuest.isPossible, "needs /dev/kvm"), .serialized)
struct KnownMoveTests {
  /// A machine that runs, and a file that holds what its memory was a moment ago.
  private func machine() throws -> (MovingMachine, KnownContentPlace, String) {
    let source = try MovingMachine(megabytesPerSecond: 2)
    try source.requireHealth()
    try source.machine.stop()
    let path = MovingMachine.path("image")
    try source.memory().write(to: URL(fileURLWithPath: path))
    try source.machine.cont()
    try source.requireHealth(reports: 1)
    return (source, .raw(path: path), path)
  }

  @Test(.timeLimit(.minutes(2)))
  func `what an image of its memory has goes as hashes`() throws {
    let (source, place, path) = try machine()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let target = try MovingMachine(isIncoming: true, known: [place])
    let capabilities: Set<String> = ["return-path", "x-known-pages"]
    try target.receive("unix:" + MovingMachine.path("sock"), capabilities)
    try source.send(target.listeningAddress, capabilities)
    let sent = try source.migrationEnd()
    #expect(sent.failure == nil)
    try #require(sent.status == .completed)
    #expect(try target.migrationEnd().failure == nil)
    #expect(try target.memory() == source.memory())
    let known = try #require(sent.known)
    #expect(known.announcedPageCount > 500)
    #expect(known.hashedPageCount > 300)
    #expect(known.savedByteCount > 1 << 20)
    #expect(sent.json["known-pages"]?["missed"]?.int == Int(known.missedPageCount))
    try target.machine.cont()
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(2)))
  func `a machine that runs ahead of its memory finds what is held`() throws {
    let (source, place, path) = try machine()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let target = try MovingMachine(isIncoming: true, runsOn: true, known: [place])
    let capabilities: Set<String> = ["return-path", "postcopy-ram", "x-known-pages"]
    try target.receive("unix:" + MovingMachine.path("sock"), capabilities)
    // Slow enough for something to be left.
    try source.send(target.listeningAddress, capabilities) { $0.set("max-bandwidth", 256 << 10) }
    try source.wait("some pages to go as hashes") {
      source.machine.migration.account.known.map { $0.hashedPageCount > 0 } ?? false
    }
    try source.machine.migration.startPostcopy()
    let sent = try source.migrationEnd()
    #expect(sent.failure == nil)
    try #require(sent.status == .completed)
    #expect(try target.migrationEnd().failure == nil)
    try target.requireHealth()
    #expect(try #require(sent.ram).postcopyByteCount > 0)
    #expect(try #require(sent.known).savedByteCount > 0)
  }

  @Test(.timeLimit(.minutes(2)))
  func `an image that has changed since costs round trips and nothing else`() throws {
    let (source, place, path) = try machine()
    defer { try? FileManager.default.removeItem(atPath: path) }
    let target = try MovingMachine(isIncoming: true, known: [place])
    let capabilities: Set<String> = ["return-path", "x-known-pages"]
    try target.receive("unix:" + MovingMachine.path("sock"), capabilities)
    // Once it was hashed, every page of it becomes another one.
    let content = try #require(try place.openFile())
    try content.announce { _ in true }
    let handle = try #require(FileHandle(forWritingAtPath: path))
    try source.wait("the image to be hashed") { true }
    for offset in stride(from: 0, to: UInt64(MovingMachine.byteCount), by: 8192) {
      try handle.seek(toOffset: offset)
      try handle.write(contentsOf: Data([0xA5, 0x5A, 0xA5]))
    }
    try source.send(target.listeningAddress, capabilities)
    #expect(try source.migrationEnd().status == .completed)
    #expect(try target.migrationEnd().failure == nil)
    #expect(try target.memory() == source.memory())
  }

  @Test(.timeLimit(.minutes(2)))
  func `with the capability at one end only the move fails and the machine goes on`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true)
    try target.receive("unix:" + MovingMachine.path("sock"), ["return-path"])
    try source.send(target.listeningAddress, ["return-path", "x-known-pages"])
    #expect(try source.migrationEnd().status == .failed)
    #expect(try target.migrationEnd().failure?.contains("x-known-pages") == true)
    try source.requireHealth()
  }
}
