// Bringing a slot's bitmap in, and taking it out again, against copying it.

import Foundation
import GuestMemory

/// The bitmap of a slot of 64 GiB, at several shares of dirty pages.
struct MergeRun {
  static let pageCount = 16 << 20
  static let rounds = 40
  /// A slot that begins in the middle of a word, as one behind the VGA hole does.
  static let unalignedPages = 13

  let ram: RAMList
  let block: RAMBlock

  init() throws {
    ram = RAMList()
    block = try ram.add(name: "pc.ram", byteCount: (Self.pageCount + 64) * RAMRange.pageSize)
  }

  func measure(_ table: inout BenchTable) {
    for perMille in [0.0, 1, 10, 100, 500, 1000] { measure(perMille: perMille, &table) }
  }

  private func measure(perMille: Double, _ table: inout BenchTable) {
    let slot = Bitmaps.random(bitCount: Self.pageCount, perMille: perMille)
    var copy = [UInt64](repeating: 1, count: slot.count)
    var round = [UInt64](repeating: 0, count: slot.count + 1)
    var times = BestTimes()
    let dirty = ram.dirty
    let unaligned = RAMAddress(UInt64(Self.unalignedPages * RAMRange.pageSize))
    for _ in 0..<Self.rounds {
      times.measure("copy") { copy.copyMemory(of: slot) }
      times.measure("aligned") {
        dirty.merge(slot.span, at: block.ramOffset, pageCount: Self.pageCount, for: .migration)
      }
      times.measure("harvest") { harvest(into: &round) }
      round.clear()
      times.measure("unaligned") {
        dirty.merge(slot.span, at: unaligned, pageCount: Self.pageCount, for: .migration)
      }
      harvest(into: &round)
      round.clear()
    }
    var bits = [UInt64](repeating: 0, count: slot.count + 1)
    for _ in 0..<5 {
      bits.clear()
      times.measure("bit by bit") { bits.setBitByBit(slot.span, at: Self.unalignedPages) }
    }
    precondition(copy == slot, "the copy is one")
    report(times, perMille, slot.count * 8, &table)
  }

  private func harvest(into round: inout [UInt64]) {
    var words = round.mutableSpan
    ram.dirty.harvestAndClear(block.ramRange, for: .migration, into: &words)
  }

  private func report(
    _ times: BestTimes, _ perMille: Double, _ byteCount: Int, _ table: inout BenchTable
  ) {
    let share = String(format: "%g %%", perMille / 10)
    let rate = String(format: "%.1f GB/s", Double(byteCount) / times["copy"] / 1e9)
    table.add("\(share) of 64 GiB dirty: memcpy of the bitmap (2 MiB)", rate)
    table.add(
      "  merge of an aligned slot's bitmap, to memcpy",
      ratio: times["copy"] / times["aligned"], atLeast: 0.5)
    table.add(
      "  harvest and clear into the round's bitmap, to memcpy",
      ratio: times["copy"] / times["harvest"], atLeast: 0.5)
    table.add(
      "  the two together, to memcpy",
      String(format: "%.2f x", times["copy"] / (times["aligned"] + times["harvest"])))
    table.add(
      "  merge of an unaligned slot's bitmap, to the aligned",
      ratio: times["aligned"] / times["unaligned"], atLeast: 0.2)
    table.add(
      "  merge of an unaligned slot's bitmap, to bit by bit",
      ratio: times["bit by bit"] / times["unaligned"], atLeast: 20)
  }
}

extension [UInt64] {
  /// Copies by the C library's memcpy.
  mutating func copyMemory(of other: [UInt64]) {
    precondition(count == other.count, "bitmaps of one size")
    // SAFETY: both arrays have that many bytes.
    unsafe withUnsafeMutableBytes { target in
      unsafe other.withUnsafeBytes { source in
        guard let to = target.baseAddress, let from = source.baseAddress else { return }
        unsafe _ = memcpy(to, from, source.count)
      }
    }
  }

  mutating func clear() {
    for index in indices { self[index] = 0 }
  }

  /// What merging is measured against: every bit looked at, every set one set.
  mutating func setBitByBit(_ bitmap: Span<UInt64>, at start: Int) {
    var words = mutableSpan
    for bit in 0..<bitmap.count * 64 where bitmap[bit / 64] >> UInt64(bit % 64) & 1 == 1 {
      words[(start + bit) / 64] |= 1 << UInt64((start + bit) % 64)
    }
  }
}
