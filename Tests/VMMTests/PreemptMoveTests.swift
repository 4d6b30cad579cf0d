// Machines whose requested pages have a connection of their own (`postcopy-preempt`), with real
// pagers, over connections of which either is cut.

import Foundation
import GuestMemory
import Pager
import QMP
import Testing
import Transport

@testable import VMM

@Suite(
  .enabled(if: StateGuest.isPossible, "needs /dev/kvm"),
  .enabled(if: PagerSession.isOffered, "this user may not have a userfaultfd"), .serialized)
struct PreemptMoveTests {
  static let capabilities: Set<String> = ["return-path", "postcopy-ram", "postcopy-preempt"]

  enum Kind: String, CaseIterable { case unix, tcp }

  private static func address(_ kind: Kind) throws -> MigrationURI {
    switch kind {
    case .unix: .unix(path: MovingMachine.path("sock"))
    case .tcp: .tcp(host: "127.0.0.1", port: 0)
    }
  }

  private func slow(_ options: inout MigrationOptions) {
    options.set("max-bandwidth", 1)
    options.set("max-postcopy-bandwidth", 2 << 20)
  }

  @Test(.timeLimit(.minutes(2)), arguments: Kind.allCases)
  func `a machine that goes first gets what it asks for over the second connection`(
    kind: Kind
  ) throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true, runsOn: true)
    try target.receive("\(Self.address(kind))", Self.capabilities)
    let relay = try TwoWayRelay(
      at: Self.address(kind), to: MigrationURI(target.listeningAddress))
    try source.send("\(relay.address)", Self.capabilities, slow)
    try source.machine.migration.startPostcopy()
    try source.wait("requests") {
      (source.machine.migration.account.ram?.postcopyRequestCount ?? 0) > 20
    }
    var options = MovingMachine.options(Self.capabilities)
    options.set("max-postcopy-bandwidth", 0)
    source.machine.migration.apply(options)
    let sent = try source.migrationEnd()
    #expect(sent.failure == nil)
    try #require(sent.status == .completed)
    #expect(try target.migrationEnd().failure == nil)
    let counts = relay.byteCounts
    try #require(counts.count == 2)
    let requests = try #require(sent.ram).postcopyRequestCount
    // Pages that are known as zeros are a few bytes.
    #expect(counts[1] > 0 && counts[1] <= Int(requests) * 4200, "\(counts), \(requests)")
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(3)), arguments: [0, 1])
  func `either connection that is cut leaves a machine that waits, and is carried on over two new`(
    cut: Int
  ) throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true)
    var relays: [TwoWayRelay] = []
    try target.receive("unix:" + MovingMachine.path("sock"), Self.capabilities)
    func send(resumes: Bool, isSlow: Bool) throws {
      let relay = try TwoWayRelay(
        at: .unix(path: MovingMachine.path("sock")), to: MigrationURI(target.listeningAddress))
      relays.append(relay)
      try source.send("\(relay.address)", Self.capabilities, resumes: resumes) { options in
        if isSlow { slow(&options) }
      }
    }
    try send(resumes: false, isSlow: true)
    try source.machine.migration.startPostcopy()
    for round in 0..<3 {
      for side in [source, target] { try side.require(.postcopyActive) }
      try target.wait("both connections") { relays.last?.byteCounts.count == 2 }
      // Somebody waits for pages, and some of them have come over the second connection.
      let block = try #require(target.machine.ram.blocks.first)
      for page in 0..<40 {
        let offset = (page * 97 + round * 31) % (MovingMachine.byteCount / 4096) * 4096
        try block.withBytes(offset: offset, byteCount: 4096) {
          (bytes) throws(GuestMemoryError) in _ = bytes.byteCount
        }
      }
      relays.last?.cut(cut)
      for side in [source, target] { try side.require(.postcopyPaused) }
      #expect(source.machine.runState == .finishMigrate)
      relays.last?.end()
      try target.recover()
      try send(resumes: true, isSlow: round < 2)
    }
    let sent = try source.migrationEnd()
    #expect(sent.failure == nil)
    try #require(sent.status == .completed)
    #expect(try target.migrationEnd().failure == nil)
    #expect(try target.memory() == source.memory())
    #expect(relays.allSatisfy { $0.byteCounts.count == 2 })
    try target.machine.cont()
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(3)))
  func `a pager that is killed takes both connections along, and another gets two new`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true)
    try target.receive("unix:" + MovingMachine.path("sock"), Self.capabilities)
    try source.send(target.listeningAddress, Self.capabilities, slow)
    try source.machine.migration.startPostcopy()
    for round in 0..<3 {
      for side in [source, target] { try side.require(.postcopyActive) }
      Thread.sleep(forTimeInterval: 0.1)
      #expect(target.killPager())
      for side in [source, target] { try side.require(.postcopyPaused) }
      try target.recover()
      try source.send(target.listeningAddress, Self.capabilities, resumes: true) { options in
        if round < 2 { slow(&options) }
      }
    }
    try #require(try source.migrationEnd().status == .completed)
    #expect(try target.migrationEnd().failure == nil)
    #expect(try target.memory() == source.memory())
    try target.machine.cont()
    try target.requireHealth()
  }

  @Test(.timeLimit(.minutes(2)))
  func `a machine that is sent whole needs no second connection`() throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true)
    try target.receive("unix:" + MovingMachine.path("sock"), Self.capabilities)
    try source.send(target.listeningAddress, Self.capabilities)
    try #require(try source.migrationEnd().status == .completed)
    #expect(try target.migrationEnd().failure == nil)
    #expect(try target.memory() == source.memory())
  }

  @Test(.timeLimit(.minutes(2)), arguments: [true, false])
  func `turned on at one end only the move fails and says so, and the machine goes on`(
    isSource: Bool
  ) throws {
    let source = try MovingMachine()
    try source.requireHealth()
    let target = try MovingMachine(isIncoming: true, runsOn: true)
    let without = Self.capabilities.subtracting(["postcopy-preempt"])
    try target.receive(
      "unix:" + MovingMachine.path("sock"), isSource ? without : Self.capabilities)
    try source.send(
      target.listeningAddress, isSource ? Self.capabilities : without, slow)
    try source.machine.migration.startPostcopy()
    let sent = try source.migrationEnd()
    let received = try target.migrationEnd()
    #expect(sent.status == .failed)
    #expect(received.status == .failed)
    let said = (isSource ? sent : received).failure ?? ""
    #expect(said.contains("postcopy-preempt"), "\(said)")
    #expect(source.machine.runState == .running)
    try source.requireHealth()
  }

  @Test func `an address with room for one connection is refused in QEMU's words`() throws {
    let machine = try MovingMachine()
    for uri in ["exec:cat", "file:/dev/null", "fd:9"] {
      let error = #expect(throws: MachineError.self) {
        try machine.send(uri, Self.capabilities)
      }
      #expect(error?.description.contains("multi-channel URIs") == true)
    }
    #expect(machine.machine.migration.account.status == .none)
    let target = try MovingMachine(isIncoming: true)
    #expect(throws: MachineError.self) { try target.receive("exec:cat", Self.capabilities) }
  }
}
