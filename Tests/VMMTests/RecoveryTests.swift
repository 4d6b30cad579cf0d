// Recoveries that fail, come twice, or are asked of the wrong side: there is one machine after
// each, it can still be carried on, and what is asked for wrongly is refused.

import Foundation
import Pager
import QMP
import Synchronization
import Testing
import Transport

@testable import VMM

@Suite(
  .enabled(if: StateGuest.isPossible, "needs /dev/kvm"),
  .enabled(if: PagerSession.isOffered, "this user may not have a userfaultfd"), .serialized)
struct RecoveryTests {
  private static let capabilities: Set<String> = ["return-path", "postcopy-ram"]

  private static func slow(_ options: inout MigrationOptions) {
    options.set("max-bandwidth", 1)
    options.set("max-postcopy-bandwidth", 2 << 20)
  }

  private static func address(_ path: String) -> MigrationPeer {
    .address(.unix(path: path))
  }

  /// Sends a machine ahead of its memory and breaks the link.
  private func interrupt(_ source: MovingMachine, to target: MovingMachine) throws {
    try source.send(target.listeningAddress, Self.capabilities, Self.slow)
    try source.machine.migration.startPostcopy()
    for side in [source, target] { try side.require(.postcopyActive) }
    try source.machine.migration.pause()
    for side in [source, target] { try side.require(.postcopyPaused) }
  }

  /// A machine that waits for one to come.
  private func waiting() throws -> MovingMachine {
    let machine = try MovingMachine(isIncoming: true, runsOn: true)
    // As on the command line: what cannot be loaded ends the process.
    try machine.machine.migration.receive(
      from: Self.address(MovingMachine.path("sock")), MovingMachine.options(Self.capabilities),
      exitsOnError: true)
    return machine
  }

  /// A machine that was sent ahead of its memory, and one that it is at: the link is broken.
  private func interrupted() throws -> (source: MovingMachine, target: MovingMachine) {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try waiting()
    try interrupt(source, to: target)
    return (source, target)
  }

  /// Carries a postcopy on to its end.
  private func carryOn(_ source: MovingMachine, to target: MovingMachine, at path: String) throws {
    try source.send("unix:" + path, Self.capabilities, resumes: true)
    try #require(try source.migrationEnd().status == .completed)
    #expect(try target.migrationEnd().status == .completed)
    #expect(source.machine.runState == .postMigrate)
    #expect(target.machine.runState == .running)
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(2)))
  func `a link that cannot be opened leaves the machine running, and the next one is taken`()
    throws
  {
    let (source, target) = try interrupted()
    try target.machine.migration.recover(
      from: .address(.file(path: "/nowhere/stream", offset: 0)))
    try target.wait("the reason") { target.machine.migration.account.failure != nil }
    #expect(target.migrationStatus == .postcopyPaused)
    #expect(target.machine.runState == .running)
    let path = MovingMachine.path("sock")
    try target.machine.migration.recover(from: Self.address(path))
    try carryOn(source, to: target, at: path)
    #expect(target.machine.migration.account.failure == nil)
  }

  @Test(.timeLimit(.minutes(2)))
  func `a recovery that is asked for twice at one address waits there once`() throws {
    let (source, target) = try interrupted()
    let (first, second) = (MovingMachine.path("sock"), MovingMachine.path("sock"))
    for path in [first, first, second, second, first] {
      try target.machine.migration.recover(from: Self.address(path))
      #expect(target.listeningAddress == "unix:" + path)
      try requireListener(at: path == first ? second : first, false)
    }
    try carryOn(source, to: target, at: first)
  }

  @Test(.timeLimit(.minutes(2)))
  func `a recovery that waits behind one that works ends with it`() throws {
    let (source, target) = try interrupted()
    let mover = try #require(target.machine.migration as? MachineMover)
    let (first, second) = (MovingMachine.path("sock"), MovingMachine.path("sock"))
    try target.machine.migration.recover(from: Self.address(first))
    // The first one's link is there and is not looked at before the second one waits.
    try mover.recovering.withLock { _ in
      try source.send("unix:" + first, Self.capabilities, resumes: true)
      try target.wait("the first link") { mover.update { $0.origin == nil } }
      try target.machine.migration.recover(from: Self.address(second))
    }
    try #require(try source.migrationEnd().status == .completed)
    #expect(try target.migrationEnd().status == .completed)
    try requireListener(at: second, false)
    #expect(mover.update { $0.origin == nil })
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(2)))
  func `a machine that came here and goes on is no destination, whatever its link does`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let middle = try waiting()
    try source.send(middle.listeningAddress, Self.capabilities)
    try #require(try source.migrationEnd().status == .completed)
    try #require(try middle.migrationEnd().status == .completed)
    let target = try MovingMachine(isIncoming: true, runsOn: true)
    try target.receive("unix:" + MovingMachine.path("sock"), Self.capabilities)
    try interrupt(middle, to: target)
    #expect(throws: MachineError.self) { try middle.recover() }
    #expect(middle.migrationStatus == .postcopyPaused)
    let path = MovingMachine.path("sock")
    try target.machine.migration.recover(from: Self.address(path))
    try carryOn(middle, to: target, at: path)
  }

  @Test(.timeLimit(.minutes(2)))
  func `a recovery that nobody answers leaves a doubt, and with it the machine here`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let silent = try SilentDestination()
    try source.send(silent.address, Self.capabilities, Self.slow)
    try source.machine.migration.startPostcopy()
    try source.wait("the machine's going") { source.machine.runState == .finishMigrate }
    // Its state is out, or as good as out.
    Thread.sleep(forTimeInterval: 0.3)
    silent.hangUp()
    try source.require(.postcopyPaused)
    let deaf = try SilentDestination()
    deaf.hangUp()
    let before = source.events.all.count
    try source.send(deaf.address, Self.capabilities, resumes: true)
    try source.require(.postcopyPaused)
    let reason = try #require(source.machine.migration.account.failure)
    #expect(reason.contains("migrate_cancel"), "it says what can be done: \(reason)")
    #expect(!source.events.all[before...].contains(.status(.postcopyActive)))
    try source.machine.migration.cancel()
    #expect(source.migrationStatus == .cancelled)
    #expect(throws: MachineError.self) {
      try source.send(deaf.address, Self.capabilities, resumes: true)
    }
    try source.machine.cont()
    try source.requireHealth()
  }

  /// Sees whether somebody waits there; a listener that was told to end takes a moment to.
  private func requireListener(at path: String, _ isThere: Bool) throws {
    let end = ContinuousClock.now + .seconds(10)
    while FileManager.default.fileExists(atPath: path) != isThere {
      guard ContinuousClock.now < end else {
        Issue.record("a listener at \(path): \(!isThere)")
        return
      }
      usleep(2000)
    }
  }
}

/// Takes whatever is sent and says that it has read it, and nothing of a machine.
private final class SilentDestination: Sendable {
  private let listener: Listener
  private let channel = Mutex<ByteChannel?>(nil)
  private let isOver = Mutex(false)

  init() throws {
    let listener = try Listener(.unix(path: MovingMachine.path("sock")))
    self.listener = listener
    _ = try NamedThread(name: "silent") { [self] in serve() }
  }

  var address: String { "\(listener.address)" }

  private func serve() {
    guard let link = try? listener.accept() else { return }
    channel.withLock { $0 = link }
    if isOver.withLock({ $0 }) { link.shutdownBoth() }
    while let bytes = try? link.read(atMost: 1 << 20), !bytes.isEmpty {
      // PONG 0x100: the answer that a source waits for before it goes over to postcopy.
      try? link.write([0, 2, 0, 4, 0, 0, 1, 0])
    }
  }

  func hangUp() {
    isOver.withLock { $0 = true }
    channel.withLock { $0 }?.shutdownBoth()
  }
}
