// Rounds: everything first, then what was written, and an end when nothing is left.

import Testing

@testable import GuestMemory

struct MigrationRoundTests {
  private func pages(_ round: inout MigrationRound, limit: Int) -> [String: [Range<Int>]] {
    var sent: [String: [Range<Int>]] = [:]
    while let run = round.nextRun(limit: limit) {
      sent[run.block.name, default: []].append(run.pages)
    }
    return sent
  }

  @Test func `a first round is everything whose content is the machine's state`() throws {
    let ram = RAMList()
    let main = try ram.add(name: "pc.ram", byteCount: 100 * 4096)
    _ = try ram.add(name: "pc.bios", byteCount: 16 * 4096, isMigratable: false)
    let video = try ram.add(name: "vga.vram", byteCount: 65 * 4096)
    ram.dirty.setEnabled(.migration, true)
    ram.dirty.mark(main.ramRange)
    var round = MigrationRound(firstOf: ram)
    #expect(round.remainingPageCount == 165)
    #expect(
      pages(&round, limit: 64) == [
        "pc.ram": [0..<64, 64..<100], "vga.vram": [0..<64, 64..<65],
      ])
    #expect(round.remainingPageCount == 0)
    #expect(round.nextRun(limit: 1) == nil)
    #expect(round.harvest() == Harvest(), "what was noticed before has been sent")
    ram.dirty.mark(video.ramRange(offset: 4096, byteCount: 1))
    #expect(round.harvest() == Harvest(pageCount: 1, addedCount: 1))
    #expect(round.nextRun(limit: 9)?.ramRange == video.ramRange(offset: 4096, byteCount: 4096))
    #expect(round.nextRun(limit: 9) == nil)
  }

  @Test func `pages that keep changing go at the end of a round`() throws {
    let ram = RAMList()
    let block = try ram.add(name: "pc.ram", byteCount: 100 * 4096)
    let other = try ram.add(name: "vga.vram", byteCount: 10 * 4096)
    ram.dirty.setEnabled(.migration, true)
    func write(_ page: Int, _ block: RAMBlock) {
      ram.dirty.mark(block.ramRange(offset: page * 4096, byteCount: 1))
    }
    var round = MigrationRound(firstOf: ram, excluding: ExcludedPages(of: ram))
    while round.nextRun(limit: 64) != nil {}
    for page in [3, 4, 50] { write(page, block) }
    #expect(round.harvest() == Harvest(pageCount: 3, addedCount: 3))
    while round.nextRun(limit: 64) != nil {}
    for page in [3, 50, 60] { write(page, block) }
    write(1, other)
    #expect(round.harvest() == Harvest(pageCount: 4, addedCount: 4))
    #expect(round.remainingPageCount == 4)
    // 3 and 50 were written in both rounds.
    #expect(
      pages(&round, limit: 64) == ["pc.ram": [60..<61, 3..<4, 50..<51], "vga.vram": [1..<2]])
    #expect(round.remainingPageCount == 0)
  }

  @Test(arguments: 0..<60)
  func `rounds send what a set of pages holds`(seed: Int) throws {
    var generator = SeededGenerator(seed: seed)
    let ram = RAMList()
    let blocks = try [70, 256, 1].map { count in
      try ram.add(name: "block of \(count)", byteCount: count * 4096)
    }
    ram.dirty.setEnabled(.migration, true)
    var round = MigrationRound(firstOf: ram)
    var model = Set(blocks.flatMap { $0.ramRange.pages })
    for _ in 0..<40 {
      let block = blocks.randomElement(using: &generator) ?? blocks[0]
      let first = Int.random(in: 0..<block.pageCount, using: &generator)
      let count = Int.random(in: 1...block.pageCount - first, using: &generator)
      let range = block.ramRange(offset: first * 4096, byteCount: count * 4096)
      switch Int.random(in: 0..<4, using: &generator) {
      case 0:
        ram.dirty.mark(range)
        let harvest = round.harvest()
        #expect(harvest.pageCount == count)
        #expect(harvest.addedCount == Set(range.pages).subtracting(model).count)
        model.formUnion(range.pages)
      case 1:
        #expect(round.remove(range) == model.intersection(range.pages).count)
        model.subtract(range.pages)
      default:
        guard let run = round.nextRun(limit: Int.random(in: 1...90, using: &generator)) else {
          // The end of a round: what lies behind its place waits for the next.
          round.harvest()
          continue
        }
        #expect(model.isSuperset(of: run.ramRange.pages))
        model.subtract(run.ramRange.pages)
      }
      #expect(round.remainingPageCount == model.count)
    }
    round.harvest()
    while let run = round.nextRun(limit: 7) { model.subtract(run.ramRange.pages) }
    #expect(model.isEmpty)
  }
}
