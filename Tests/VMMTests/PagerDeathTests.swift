// Pagers are killed at any instant: the machine whose memory they fill goes on, or never runs.

import Foundation
import GuestMemory
import MigrationEngine
import Pager
import QMP
import Synchronization
import Testing
import Transport

@testable import VMM

@Suite(
  .enabled(if: StateGuest.isPossible, "needs /dev/kvm"),
  .enabled(if: PagerSession.isOffered, "this user may not have a userfaultfd"), .serialized)
struct PagerDeathTests {
  /// Instants that differ from run to run; a failing one is told.
  private struct Instants: RandomNumberGenerator {
    let seed: UInt64
    private var state: UInt64

    init() {
      seed = UInt64.random(in: .min ... .max)
      state = seed
    }

    mutating func next() -> UInt64 {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return state ^ (state >> 29)
    }
  }

  @Test(.timeLimit(.minutes(5)))
  func `a pager that is killed at any instant is replaced, and nothing is lost`() throws {
    var instants = Instants()
    let move = try PagedMove()
    let memory = try move.source.memory()
    var deaths = 0
    for round in 0..<8 {
      let context = Comment("seed \(instants.seed), round \(round)")
      let target = try MovingMachine(isIncoming: true)
      try target.receive(
        "unix:" + MovingMachine.path("sock"), ["return-path", "postcopy-ram"])
      var threads = [try move.send(to: target, .postcopy(), megabytesPerSecond: 25)]
      try target.require(.postcopyActive, .completed)
      let touching = try Self.touch(target, expecting: memory, seed: instants.next())
      for _ in 0..<3 {
        usleep(UInt32.random(in: 0...90_000, using: &instants))
        if target.migrationStatus != .completed, target.killPager() { deaths += 1 }
        try target.require(.postcopyPaused, .completed)
        guard target.migrationStatus == .postcopyPaused else { break }
        // Now and then the one that waits for a link is killed as well.
        if Bool.random(using: &instants), target.killPager() { deaths += 1 }
        try target.recover()
        threads.append(try move.send(to: target, .recovery, megabytesPerSecond: 25))
      }
      for thread in threads { thread.join() }
      try Self.carryOn(move, to: target)
      touching.join()
      #expect(touching.wrong == 0, context)
      #expect(try target.memory() == memory, context)
      #expect(target.pager == nil, context)
      try target.machine.cont()
      try target.requireHealth(reports: 2)
    }
    #expect(deaths >= 8, "pagers were killed while they worked")
  }

  @Test(.timeLimit(.minutes(5)), arguments: [false, true])
  func `a guest that runs while its pagers are killed finds every page as it was`(
    preempts: Bool
  ) throws {
    var instants = Instants()
    let move = try PagedMove()
    for round in 0..<4 {
      let target = try MovingMachine(isIncoming: true)
      try target.machine.cont()
      try target.receive(
        "unix:" + MovingMachine.path("sock"),
        Set(["return-path", "postcopy-ram"] + (preempts ? ["postcopy-preempt"] : [])))
      var threads = [
        try move.send(to: target, .postcopy(), megabytesPerSecond: 30, preempts: preempts)
      ]
      try target.require(.postcopyActive, .completed)
      for _ in 0..<3 {
        usleep(UInt32.random(in: 0...120_000, using: &instants))
        _ = target.killPager()
        try target.require(.postcopyPaused, .completed)
        guard target.migrationStatus == .postcopyPaused else { break }
        try target.recover()
        threads.append(
          try move.send(to: target, .recovery, megabytesPerSecond: 30, preempts: preempts))
      }
      for thread in threads { thread.join() }
      try Self.carryOn(move, to: target, preempts: preempts)
      #expect(target.machine.runState == .running)
      let context = Comment("seed \(instants.seed), round \(round)")
      #expect(throws: Never.self, context) { try target.requireHealth(reports: 4) }
    }
  }

  @Test(.timeLimit(.minutes(2)))
  func `a pager that dies before anybody was told leaves a machine that never runs`() throws {
    let move = try PagedMove()
    let target = try MovingMachine(isIncoming: true)
    try target.receive("unix:" + MovingMachine.path("sock"), ["return-path", "postcopy-ram"])
    // The list of blocks and nothing more: the machine is announced and does not come.
    let thread = try move.send(to: target, .precopy(returnPath: true), megabytesPerSecond: 1)
    try target.require(.active)
    #expect(target.killPager())
    try target.require(.failed)
    thread.join()
    #expect(target.machine.runState == .inMigrate)
    #expect(target.machine.migration.account.failure?.contains("pager") == true)
    #expect(throws: Never.self) { try move.source.machine.cont() }
    try move.source.requireHealth()
  }

  /// Recovers until all is there; a link that was given to a pager just killed is lost with it.
  private static func carryOn(
    _ move: PagedMove, to target: MovingMachine, preempts: Bool = false
  ) throws {
    for _ in 0..<5 {
      try target.require(.postcopyPaused, .completed)
      guard target.migrationStatus != .completed else { return }
      try target.recover()
      try move.send(
        to: target, .recovery, megabytesPerSecond: 1000, preempts: preempts
      ).join()
    }
    try target.require(.completed)
  }

  /// A thread that reads pages at random, and waits where they are not there.
  private static func touch(
    _ target: MovingMachine, expecting memory: Data, seed: UInt64
  ) throws -> Touching {
    let block = try #require(target.machine.ram.blocks.first)
    return try Touching(block, memory, seed)
  }

  private final class Touching: Sendable {
    private let thread: NamedThread
    private let found: Found

    private final class Found: Sendable {
      let wrong = Atomic<Int>(0)
    }

    init(_ block: RAMBlock, _ memory: Data, _ seed: UInt64) throws {
      let found = Found()
      self.found = found
      thread = try NamedThread(name: "toucher") {
        var state = seed
        for _ in 0..<400 {
          state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
          let offset = Int(state >> 33) % (memory.count / 4096) * 4096
          let isRight = try? block.withBytes(offset: offset, byteCount: 4096) {
            (bytes) throws(GuestMemoryError) in
            bytes.withUnsafeBytes { $0.elementsEqual(memory[offset..<offset + 4096]) }
          }
          if isRight != true { found.wrong.add(1, ordering: .relaxed) }
        }
      }
    }

    var wrong: Int { found.wrong.load(ordering: .relaxed) }

    func join() { thread.join() }
  }
}
