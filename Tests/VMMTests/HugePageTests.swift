// Machines whose memory is made of huge pages move by postcopy, a huge page at a time.

import Foundation
import GuestMemory
import Pager
import QMP
import Testing

@testable import VMM

@Suite(
  .enabled(if: StateGuest.isPossible, "needs /dev/kvm"),
  .enabled(if: PagerSession.isOffered, "this user may not have a userfaultfd"),
  .enabled(
    if: HugePages.isPossible, "no huge pages of 2 MiB can be reserved here (vm.nr_hugepages)"),
  .serialized)
struct HugePageTests {
  @Test(.timeLimit(.minutes(3)), arguments: [false, true])
  func `a machine of huge pages arrives page by page, through the death of its pager`(
    preempts: Bool
  ) throws {
    try HugePages.withReserved(32) {
      let move = try PagedMove(usesHugePages: true)
      let memory = try move.source.memory()
      let target = try MovingMachine(isIncoming: true, usesHugePages: true)
      #expect(target.machine.ramBlocks.first?.pageByteCount == 2 << 20)
      try target.receive(
        "unix:" + MovingMachine.path("sock"),
        Set(["return-path", "postcopy-ram"] + (preempts ? ["postcopy-preempt"] : [])))
      let thread = try move.send(
        to: target, .postcopy(), megabytesPerSecond: 20, preempts: preempts)
      try target.require(.postcopyActive)
      #expect(target.killPager())
      try target.require(.postcopyPaused)
      thread.join()
      try target.recover()
      try move.send(to: target, .recovery, megabytesPerSecond: 1000, preempts: preempts).join()
      try target.require(.completed)
      #expect(try target.memory() == memory)
      try target.machine.cont()
      try target.requireHealth()
    }
  }

  @Test(.timeLimit(.minutes(3)))
  func `a source with pages of another size is refused before anything runs`() throws {
    try HugePages.withReserved(16) {
      let move = try PagedMove()
      let target = try MovingMachine(isIncoming: true, usesHugePages: true)
      try target.receive(
        "unix:" + MovingMachine.path("sock"), ["return-path", "postcopy-ram"])
      let thread = try move.send(to: target, .postcopy(), megabytesPerSecond: 100)
      try target.require(.failed)
      thread.join()
      #expect(target.machine.migration.account.failure?.contains("huge pages") == true)
      #expect(target.machine.runState == .inMigrate)
    }
  }
}

/// The host's huge pages, some of which a test sets aside for itself.
enum HugePages {
  private static let path = "/proc/sys/vm/nr_hugepages"

  private static var count: Int {
    let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    return Int(text.trimmingCharacters(in: .whitespacesAndNewlines)) ?? 0
  }

  static let isPossible = (try? withReserved(32) {}) != nil

  /// Runs with so many more huge pages than there are, and puts their number back.
  static func withReserved(_ more: Int, _ body: () throws -> Void) throws {
    let before = count
    defer { set(before) }
    set(before + more)
    guard count >= before + more else { throw TooFew(found: count - before) }
    try body()
  }

  private static func set(_ number: Int) {
    try? "\(number)\n".write(toFile: path, atomically: false, encoding: .utf8)
  }

  struct TooFew: Error {
    let found: Int
  }
}
