// A whole sync: the slots' bitmaps brought in, and the round's pages taken out and counted.

import Foundation
import GuestMemory

/// A sync of a machine of a given size of which 0.1 % is dirty.
struct SyncRun {
  static let rounds = 25

  /// Milliseconds, in the best of several rounds: other work on the machine only makes it longer.
  var sync = 0.0
  /// What copying one bitmap of as many pages takes: it grows with the caches' reach, too.
  var copy = 0.0

  /// Every round begins with cold caches, as a real sync does.
  init(gibibytes: Int) throws {
    let ram = RAMList()
    let pageCount = gibibytes << 18
    let block = try ram.add(name: "pc.ram", byteCount: gibibytes << 30)
    // As on a PC: 3 GiB lie below the hole at 4 GiB, and the rest above it.
    let lowPages = 3 << 18
    let low = Bitmaps.random(bitCount: lowPages, perMille: 1)
    let high = Bitmaps.random(bitCount: pageCount - lowPages, perMille: 1)
    var round = MigrationRound(firstOf: ram)
    round.remove(block.ramRange)
    var target = [UInt64](repeating: 1, count: high.count)
    var evicting = [UInt64](repeating: 1, count: 128 << 20 / 8)
    var times = BestTimes()
    for _ in 0..<Self.rounds {
      evicting.touch()
      var found = Harvest()
      times.measure("sync") {
        ram.dirty.merge(low.span, at: block.ramOffset, pageCount: lowPages, for: .migration)
        ram.dirty.merge(
          high.span, at: block.ramOffset.advanced(by: lowPages * RAMRange.pageSize),
          pageCount: pageCount - lowPages, for: .migration)
        found = round.harvest()
      }
      precondition(
        found.pageCount > pageCount / 1100 && found.addedCount == found.pageCount,
        "every dirty page is found, and only those")
      round.remove(block.ramRange)
      evicting.touch()
      times.measure("copy") { target.copyMemory(of: high) }
    }
    sync = times["sync"] * 1000
    copy = times["copy"] * 1000
  }

  static func measure(_ table: inout BenchTable) throws {
    let small = try SyncRun(gibibytes: 64)
    table.add(
      "sync of 64 GiB, 0.1 % dirty, cold caches", String(format: "%.2f ms", small.sync),
      bar: "at most 5 ms", met: small.sync <= 5)
    for gibibytes in [256, 1024] {
      let large = try SyncRun(gibibytes: gibibytes)
      let linear = Double(gibibytes / 64)
      table.add(
        "sync of \(gibibytes) GiB",
        String(format: "%.2f ms, %.1f x 64 GiB's", large.sync, large.sync / small.sync),
        bar: String(format: "at most %g ms", 5 * linear), met: large.sync <= 5 * linear)
      table.add(
        "  copying its bitmap alone",
        String(format: "%.2f ms, %.1f x 64 GiB's", large.copy, large.copy / small.copy))
      // What grows faster than linearly here is the caches' part; it does so for both.
      let growth = large.sync / large.copy / (small.sync / small.copy)
      table.add(
        "  sync in copies of its bitmap, to 64 GiB's", String(format: "%.2f x", growth),
        bar: "at most 1.5 x", met: growth <= 1.5)
    }
  }
}

extension [UInt64] {
  /// Writes to every cache line.
  mutating func touch() {
    for index in stride(from: 0, to: count, by: 8) { self[index] &+= 1 }
  }
}
