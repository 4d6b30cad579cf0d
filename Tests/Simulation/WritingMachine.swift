// The machine that runs while it is moved in a simulation: its memory changes under the move.

import MigrationCore
import Wire

/// A running machine's memory, and which of it was written since somebody asked.
final class WritingMachine {
  let model: ModelMachine
  /// Target pages that are not all zero.
  private(set) var memory: [RAMPageAddress: [UInt8]] = [:]
  /// Whether its processors run here.
  private(set) var isRunning = true
  /// Called before it runs on here.
  var onResume: () throws -> Void = {}

  private let clock: VirtualClock
  private let pages: [RAMPageAddress]
  private let pace: Int
  private var random: SeededRandom
  private var written: Set<RAMPageAddress> = []
  private var left: [RAMPageAddress] = []
  private var head = 0
  private var writesLeft: Int

  /// A machine that writes until the seed says that it rests.
  init(_ model: ModelMachine, clock: VirtualClock, seed: UInt64) {
    self.model = model
    self.clock = clock
    var random = SeededRandom(seed: seed)
    pace = [200, 5_000, 60_000, 2_000_000][random.below(4)]
    writesLeft = random.below(400)
    self.random = random
    pages = model.blocks.indices.flatMap { index in
      stride(from: 0, to: model.blocks[index].usedLength, by: model.targetPageSize).map {
        RAMPageAddress(blockIndex: index, offset: $0)
      }
    }
    for page in pages { memory[page] = model.content(page) }
    schedule()
  }

  // MARK: The guest

  private func schedule() {
    guard isRunning, writesLeft > 0 else { return }
    clock.after(UInt64(1 + random.below(pace))) { [self] in
      guard isRunning, writesLeft > 0 else { return }
      writesLeft -= 1
      // Some pages change all the time, as in every guest.
      write(
        pages[random.chance(60) ? random.below(min(4, pages.count)) : random.below(pages.count)])
      schedule()
    }
  }

  private func write(_ page: RAMPageAddress) {
    memory[page] = random.chance(10) ? nil : Self.content(random.next(), model.targetPageSize)
    written.insert(page)
  }

  static func content(_ word: UInt64, _ byteCount: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: word | 1), count: byteCount)
    for index in 0..<8 { bytes[index] = UInt8(truncatingIfNeeded: word >> UInt64(8 * index)) }
    return bytes
  }

  func stop() { isRunning = false }

  func resume() throws {
    guard !isRunning else { return }
    try onResume()
    isRunning = true
    schedule()
  }

  // MARK: The rounds of a move

  var remaining: UInt64 { UInt64((left.count - head) * model.targetPageSize) }

  func beginRounds() {
    written = []
    (left, head) = (pages, 0)
  }

  func sync() -> UInt64 {
    let before = Set(left[head...])
    let added = written.subtracting(before)
    left = before.union(written).sorted { ($0.blockIndex, $0.offset) < ($1.blockIndex, $1.offset) }
    (head, written) = (0, [])
    return UInt64(added.count * model.targetPageSize)
  }

  func nextPages(_ limit: Int) -> ArraySlice<RAMPageAddress> {
    let end = min(left.count, head + limit)
    defer { head = end }
    return left[head..<end]
  }

  /// Everything that is left of the round, or everything, as host pages of each block.
  func missing(allAgain: Bool) -> [PageBitmap] {
    var missing = model.blocks.indices.map { index in
      PageBitmap(pageCount: Int(model.blocks[index].usedLength) / model.hostPageSize(index))
    }
    for page in allAgain ? pages[...] : left[head...] {
      missing[page.blockIndex].insert(Int(page.offset) / model.hostPageSize(page.blockIndex))
    }
    return missing
  }
}
