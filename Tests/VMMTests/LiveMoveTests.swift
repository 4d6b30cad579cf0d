// A machine moves while it runs: in rounds, or ahead of its memory, whatever notices its writes.

import DirtyTracking
import Foundation
import QMP
import Synchronization
import Testing
import Transport

@testable import VMM

@Suite(.enabled(if: StateGuest.isPossible, "needs /dev/kvm"), .serialized)
struct LiveMoveTests {
  /// The logs that this host has.
  static let logs = DirtyLogKind.allCases.filter { kind in
    (try? MovingMachine(dirtyLog: kind)) != nil
  }

  @Test(.timeLimit(.minutes(2)), arguments: logs, [false, true])
  func `a machine moves while it writes, and nothing it wrote is lost`(
    log: DirtyLogKind, confirms: Bool
  ) throws {
    let source = try MovingMachine(dirtyLog: log, megabytesPerSecond: 20)
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true)
    let capabilities: Set<String> = confirms ? ["return-path"] : []
    try target.receive("unix:" + MovingMachine.path("sock"), capabilities)
    try source.send(target.listeningAddress, capabilities)
    let sent = try source.migrationEnd()
    #expect(sent.failure == nil)
    try #require(sent.status == .completed)
    #expect(source.machine.runState == .postMigrate)
    #expect(try #require(sent.ram).dirtySyncCount >= 2)
    #expect(try target.migrationEnd().failure == nil)
    #expect(try target.memory() == source.memory())
    #expect(try target.instructionPointer() == source.instructionPointer())
    try target.machine.cont()
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(2)), arguments: logs)
  func `a machine goes ahead of its memory in the middle of the move`(log: DirtyLogKind) throws {
    let source = try MovingMachine(dirtyLog: log, megabytesPerSecond: 20)
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true, runsOn: true)
    let capabilities: Set<String> = ["return-path", "postcopy-ram"]
    try target.receive("unix:" + MovingMachine.path("sock"), capabilities)
    // Slow enough for something to be left.
    try source.send(target.listeningAddress, capabilities) { options in
      options.set("max-bandwidth", 4 << 20)
    }
    try source.wait("half of the first round") {
      let ram = source.machine.migration.account.ram
      return ram.map { $0.transferredByteCount > 1 << 20 } ?? false
    }
    try source.machine.migration.startPostcopy()
    let sent = try source.migrationEnd()
    #expect(sent.failure == nil)
    try #require(sent.status == .completed)
    #expect(source.machine.runState == .postMigrate)
    #expect(source.events.all.contains(.status(.postcopyActive)))
    #expect(try #require(sent.ram).precopyByteCount > 0)
    #expect(try #require(sent.ram).postcopyByteCount > 0)
    #expect(try target.migrationEnd().failure == nil)
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(2)), arguments: [false, true])
  func `once a machine has gone over, both ends let go of the link`(isPostcopy: Bool) throws {
    let source = try MovingMachine()
    try source.requireHealth(reports: 1)
    let target = try MovingMachine(isIncoming: true, runsOn: true)
    let capabilities: Set = isPostcopy ? ["return-path", "postcopy-ram"] : ["return-path"]
    try target.receive("unix:" + MovingMachine.path("sock"), capabilities)
    let listener = try Listener(.unix(path: MovingMachine.path("sock")))
    try source.send("\(listener.address)", capabilities)
    if isPostcopy { try source.machine.migration.startPostcopy() }
    let near = try listener.accept(timeout: .seconds(10))
    let far = try ByteChannel.connect(to: MigrationURI(target.listeningAddress))
    // As ssh does: each end's silence is passed on, and only both end the way.
    let ended = EndCount()
    try withExtendedLifetime((near, far)) {
      for (from, to) in [(near, far), (far, near)] {
        _ = try NamedThread(name: "way") {
          while let bytes = try? from.read(atMost: 64 << 10), !bytes.isEmpty {
            guard (try? to.write(bytes)) != nil else { break }
          }
          try? to.shutdownWrite()
          ended.count.withLock { $0 += 1 }
        }
      }
      try #require(try source.migrationEnd().status == .completed)
      #expect(try target.migrationEnd().failure == nil)
      try source.wait("the end of the link") { ended.count.withLock { $0 } == 2 }
    }
    try target.requireHealth(reports: 1)
  }

  @Test(.timeLimit(.minutes(2)))
  func `a machine goes before any of its memory`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true, runsOn: true)
    let capabilities: Set<String> = ["return-path", "postcopy-ram"]
    try target.receive("unix:" + MovingMachine.path("sock"), capabilities)
    // At a byte a second, its memory would never be there.
    try source.send(target.listeningAddress, capabilities) { options in
      options.set("max-bandwidth", 1)
      options.set("max-postcopy-bandwidth", 1)
    }
    try source.machine.migration.startPostcopy()
    try source.wait("a machine that runs there") {
      source.machine.migration.account.status == .postcopyActive
    }
    source.machine.migration.apply(MovingMachine.options(capabilities))
    try #require(try source.migrationEnd().status == .completed)
    #expect(try target.migrationEnd().failure == nil)
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(2)))
  func `a machine stands and waits for the word to switch over, or goes on where it was`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let capabilities: Set<String> = ["return-path", "pause-before-switchover"]
    for goesThrough in [false, true] {
      let target = try MovingMachine(isIncoming: true)
      try target.receive("unix:" + MovingMachine.path("sock"), ["return-path"])
      try source.send(target.listeningAddress, capabilities)
      try source.wait("the halt before the switchover") {
        source.machine.migration.account.status == .preSwitchover
      }
      #expect(!source.machine.runState.isRunning)
      guard goesThrough else {
        try source.machine.migration.cancel()
        let end = try source.migrationEnd()
        #expect(end.status == .cancelled, "\(end)")
        #expect(source.machine.runState == .running)
        try source.requireHealth()
        continue
      }
      try source.machine.migration.proceed()
      try #require(try source.migrationEnd().status == .completed)
      #expect(try target.migrationEnd().failure == nil)
      #expect(try target.memory() == source.memory())
    }
    #expect(throws: MachineError.self) { try source.machine.migration.proceed() }
  }

  @Test(.timeLimit(.minutes(2)))
  func `a downtime of nothing waits for a guest that rests, and a byte a second can be raised`()
    throws
  {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true)
    try target.receive("unix:" + MovingMachine.path("sock"), ["return-path"])
    try source.send(target.listeningAddress, ["return-path"]) { options in
      options.set("max-bandwidth", 1)
      options.set("downtime-limit", 0)
    }
    try source.wait("the first page") { source.machine.migration.account.status == .active }
    Thread.sleep(forTimeInterval: 0.3)
    let slow = source.machine.migration.account
    #expect(slow.status == .active)
    #expect(try #require(slow.ram).transferredByteCount < 1 << 16)
    #expect(source.machine.runState == .running)
    var options = MovingMachine.options(["return-path"])
    options.set("max-bandwidth", 0)
    options.set("downtime-limit", 300)
    source.machine.migration.apply(options)
    try #require(try source.migrationEnd().status == .completed)
    #expect(try target.migrationEnd().failure == nil)
    #expect(try target.memory() == source.memory())
  }

  @Test(.timeLimit(.minutes(2)))
  func `a postcopy whose link breaks is carried on over another, from both ends`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true, runsOn: true)
    let capabilities: Set<String> = ["return-path", "postcopy-ram"]
    try target.receive("unix:" + MovingMachine.path("sock"), capabilities)
    func slow(_ options: inout MigrationOptions) {
      options.set("max-bandwidth", 1)
      options.set("max-postcopy-bandwidth", 2 << 20)
    }
    try source.send(target.listeningAddress, capabilities, slow)
    try source.machine.migration.startPostcopy()
    var transferred: UInt64 = 0
    for round in 0..<3 {
      try source.wait("pages that follow") {
        source.machine.migration.account.status == .postcopyActive
      }
      try target.wait("a machine that runs") {
        target.machine.migration.account.status == .postcopyActive
      }
      Thread.sleep(forTimeInterval: 0.1)
      try (round % 2 == 0 ? source : target).machine.migration.pause()
      for side in [source, target] {
        try side.wait("both ends' pause") {
          side.machine.migration.account.status == .postcopyPaused
        }
      }
      #expect(source.machine.runState == .finishMigrate)
      // What goes over each link adds up.
      let ram = try #require(source.machine.migration.account.ram)
      #expect(ram.transferredByteCount > transferred, "round \(round)")
      #expect(ram.remainingByteCount > 0)
      transferred = ram.transferredByteCount
      try target.machine.migration.recover(
        from: .address(MigrationURI("unix:" + MovingMachine.path("sock"))))
      try source.send(target.listeningAddress, capabilities, resumes: true) { options in
        slow(&options)
        if round == 2 { options.set("max-postcopy-bandwidth", 1) }
      }
    }
    // The last link goes by the limit that is set while it is used.
    try source.wait("the last link") {
      source.machine.migration.account.status == .postcopyActive
    }
    source.machine.migration.apply(MovingMachine.options(capabilities))
    try #require(try source.migrationEnd().status == .completed)
    let ram = try #require(source.machine.migration.account.ram)
    #expect(ram.remainingByteCount == 0)
    #expect(ram.transferredByteCount > transferred)
    #expect(
      ram.postcopyByteCount + ram.precopyByteCount + ram.downtimeByteCount
        == ram.transferredByteCount)
    #expect(try target.migrationEnd().failure == nil)
    #expect(source.machine.runState == .postMigrate)
    try target.requireHealth()
  }
}

/// How many ways have ended.
private final class EndCount: Sendable {
  let count = Mutex(0)
}
