// What a dirty log says, held against a page-by-page comparison of the memory itself.

import DirtyTracking
import Glibc
import GuestMemory
import Synchronization

/// Follows a writing machine round by round, as a migration would.
///
/// A copy of all memory stands for the target. A round ends with the vCPUs paused: what the log
/// reports is set against the pages that differ from the copy, and then copied ("sent").
final class Exactness {
  /// What a round found.
  struct Round: Sendable {
    /// Pages that the log reported.
    var reported = 0
    /// Pages that differ from what was sent.
    var changed = 0
    /// Pages that differ and were not reported: lost writes.
    var missed: [Int] = []
    /// Pages that were reported, do not differ, and were not about to be written either.
    var surplus: [Int] = []
    /// Pages that were reported because a vCPU was interrupted just before it wrote them.
    var interrupted = 0
  }

  private let machine: WritingMachine
  private var copies: [(block: RAMBlock, copy: UnsafeMutableRawPointer)] = []
  /// Pages that were reported and not sent.
  private var pending: Set<Int> = []

  /// Damages what a log reported, to see that it is found.
  private let tamper: (DirtyMemory, RAMBlock) -> Void

  init(
    _ machine: WritingMachine, tamper: @escaping (DirtyMemory, RAMBlock) -> Void = { _, _ in }
  ) {
    self.machine = machine
    self.tamper = tamper
    copies = machine.ram.blocks.map { block in
      (block, .allocate(byteCount: block.byteCount, alignment: RAMRange.pageSize))
    }
  }

  deinit {
    for (_, copy) in copies { copy.deallocate() }
  }

  /// Copies everything and starts the log, at one instant of the guest.
  func begin() throws {
    try machine.whilePaused {
      for (block, copy) in copies {
        block.withUnsafeMemory(offset: 0, byteCount: block.byteCount) { bytes in
          copy.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
        }
      }
      try machine.log.start()
    }
  }

  /// Ends a round.
  /// - Parameter isSent: says for each reported page whether it is sent now.
  func endRound(sending isSent: (Int) -> Bool = { _ in true }) throws -> Round {
    try machine.whilePaused {
      var round = Round()
      try machine.log.sync()
      if let (block, _) = copies.first { tamper(block.dirty, block) }
      var reported: Set<Int> = []
      for (block, _) in copies { reported.formUnion(harvest(block)) }
      round.reported = reported.count
      pending.formUnion(reported)
      let sent = pending.filter(isSent).sorted()
      for run in Self.runs(of: sent) { try machine.log.willSend(RAMRange(pages: run)) }
      let sentSet = Set(sent)
      for (block, copy) in copies {
        compare(block, copy, reported: reported, sent: sentSet, &round)
      }
      pending.subtract(sentSet)
      let interrupted = try machine.takeInterruptedPages()
      round.interrupted = round.surplus.count(where: interrupted.contains)
      round.surplus.removeAll(where: interrupted.contains)
      return round
    }
  }

  private func harvest(_ block: RAMBlock) -> [Int] {
    var words = [UInt64](repeating: 0, count: (block.pageCount + 63) / 64)
    var span = words.mutableSpan
    block.dirty.harvestAndClear(block.ramRange, for: .migration, into: &span)
    let first = block.ramRange.pages.lowerBound
    return (0..<block.pageCount).filter { words[$0 / 64] & 1 << UInt64($0 % 64) != 0 }
      .map { first + $0 }
  }

  /// Compares a block with its copy and brings the copy's sent pages up to date.
  private func compare(
    _ block: RAMBlock, _ copy: UnsafeMutableRawPointer, reported: Set<Int>, sent: Set<Int>,
    _ round: inout Round
  ) {
    let first = block.ramRange.pages.lowerBound
    block.withUnsafeMemory(offset: 0, byteCount: block.byteCount) { bytes in
      for page in 0..<block.pageCount {
        let offset = page * RAMRange.pageSize
        let memory = bytes.baseAddress! + offset
        let differs = memcmp(memory, copy + offset, RAMRange.pageSize) != 0
        if differs {
          round.changed += 1
          if !pending.contains(first + page) { round.missed.append(first + page) }
        } else if reported.contains(first + page) {
          round.surplus.append(first + page)
        }
        if differs, sent.contains(first + page) {
          (copy + offset).copyMemory(from: memory, byteCount: RAMRange.pageSize)
        }
      }
    }
  }

  private static func runs(of pages: [Int]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for page in pages {
      if let last = runs.last, last.upperBound == page {
        runs[runs.count - 1] = last.lowerBound..<page + 1
      } else {
        runs.append(page..<page + 1)
      }
    }
    return runs
  }
}

/// What a whole run came to.
public struct ExactnessResult: Sendable {
  /// Rounds, the first included.
  public var rounds = 0
  /// Pages reported in rounds after the first.
  public var reported = 0
  /// Changes of the memory layout meanwhile.
  public var layoutChanges = 0
  /// Exits because a ring was full.
  public var fullRings = 0
  /// Writes that found no writable memory.
  public var exitedWrites = 0
  /// Pages reported because a vCPU was interrupted just before it wrote them.
  public var interruptedWrites = 0
  /// What was wrong; empty where all was exact.
  public var faults: [String] = []

  /// Runs the writing machine under one source of dirty pages.
  /// - Parameters:
  ///   - kind: the source.
  ///   - vcpuCount: vCPUs.
  ///   - rounds: how many rounds, at least 2.
  ///   - ringEntryCount: entries of each dirty ring.
  ///   - backing: where the memory comes from.
  ///   - tamper: damages what the log reported.
  ///   - changesLayout: whether slots are split, merged, added and removed meanwhile.
  public static func run(
    _ kind: DirtyLogKind, vcpuCount: Int = 1, rounds: Int = 20, changesLayout: Bool,
    ringEntryCount: Int = DirtyLogChoice.ringEntryCount, backing: RAMBacking = .anonymous,
    tamper: @escaping (DirtyMemory, RAMBlock) -> Void = { _, _ in }
  ) throws -> ExactnessResult {
    let machine = try WritingMachine(
      kind, vcpuCount: vcpuCount, ringEntryCount: ringEntryCount, backing: backing)
    let exactness = Exactness(machine, tamper: tamper)
    var result = ExactnessResult()
    try machine.start()
    do {
      pause(milliseconds: 5)
      try exactness.begin()
      for round in 0..<rounds {
        for step in 0..<4 {
          pause(milliseconds: 3)
          if changesLayout {
            try machine.toggleOverlay(round &* 7 &+ step &* 5)
            result.layoutChanges += 1
          }
        }
        try machine.waitForWrites()
        // Every fifth round sends only some of the pages; the next one the rest.
        let sendsAll = round % 5 != 3
        let found = try exactness.endRound { sendsAll || $0 % 3 == 0 }
        result.rounds += 1
        let name = "\(kind.rawValue), round \(round)"
        if !found.missed.isEmpty {
          result.faults.append("\(name): \(found.missed.count) writes lost: \(found.missed)")
        }
        guard round > 0 else { continue }
        result.reported += found.reported
        result.interruptedWrites += found.interrupted
        // After a round that sent only some, pages are reported again without another write.
        if sendsAll, round % 5 != 4, !found.surplus.isEmpty {
          result.faults.append(
            "\(name): \(found.surplus.count) pages reported without a write: \(found.surplus)")
        }
        if found.changed == 0 { result.faults.append("\(name): the guest wrote nothing") }
      }
      try machine.log.stop()
    } catch {
      result.faults.append("\(kind.rawValue): \(error)")
    }
    result.faults += machine.end()
    result.fullRings = machine.fullRingCount.load(ordering: .relaxed)
    result.exitedWrites = machine.exitedWriteCount.load(ordering: .relaxed)
    return result
  }

  /// Runs the writing machine with rings that are emptied only when they are full.
  /// - Parameter fullRings: ends when that many exits because of a full ring have been.
  public static func runFillingRings(fullRings: Int = 5) throws -> ExactnessResult {
    let machine = try WritingMachine(.ring, ringEntryCount: 1024, leavesAndFillsRings: true)
    let exactness = Exactness(machine)
    var result = ExactnessResult()
    try machine.start()
    do {
      try exactness.begin()
      let deadline = ContinuousClock.now + .seconds(60)
      while result.fullRings < fullRings, ContinuousClock.now < deadline {
        while machine.fullRingCount.load(ordering: .relaxed) == result.fullRings,
          ContinuousClock.now < deadline
        { pause(milliseconds: 5) }
        let found = try exactness.endRound()
        result.rounds += 1
        result.fullRings = machine.fullRingCount.load(ordering: .relaxed)
        result.reported += found.reported
        if !found.missed.isEmpty { result.faults.append("writes lost: \(found.missed)") }
        if result.rounds > 1, !found.surplus.isEmpty {
          result.faults.append("pages reported without a write: \(found.surplus)")
        }
      }
      try machine.log.stop()
    } catch {
      result.faults.append("\(error)")
    }
    result.faults += machine.end()
    if result.fullRings < fullRings { result.faults.append("only \(result.fullRings) full rings") }
    return result
  }

  private static func pause(milliseconds: UInt32) { usleep(milliseconds * 1000) }
}
