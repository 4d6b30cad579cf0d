// Both engines in postcopy, with pages that travel as hashes to a machine that runs already.

import MigrationCore
import MigrationEngine
import Simulation
import Synchronization
import Testing
import Transport
import Wire

@Suite struct `Postcopies of pages that are known` {
  private func source(_ machine: ModelMachine, _ channel: ByteChannel, _ plan: SourcePlan)
    -> SourceEngine
  {
    var options = SourceOptions()
    options.usesKnownPages = true
    return SourceEngine(
      channel: channel, endpoint: MemorySource(machine), plan: plan, options: options)
  }

  private func options(_ contents: [any KnownContent]) -> DestinationOptions {
    var options = DestinationOptions()
    options.readByteCount = 4096
    options.takesPostcopy = true
    options.knownContent = contents
    return options
  }

  /// A machine of 4 KiB pages, more than a handful of them.
  private func machine(_ seed: UInt64) throws -> ModelMachine {
    try #require(
      (0..<400).lazy.map { ModelMachine(seed: seed &* 1000 &+ $0, targetPageSize: 4096) }
        .first { machine in
          machine.blocks.allSatisfy { $0.pageSize == nil }
            && machine.blocks.reduce(0) { $0 + $1.usedLength } > 120 << 10
        })
  }

  /// What is held: two pages in three, and for a liar all that it does not hold as well.
  private func content(_ machine: ModelMachine, lies: Bool) throws -> MadeContent {
    let pages = Array(machine.memory.values)
    let held = pages.enumerated().filter { $0.offset % 3 > 0 }.map(\.element)
    guard lies else { return try MadeContent(held) }
    return try MadeContent(held, announces: try pages.map { try knownHash($0).prefix })
  }

  @Test(.timeLimit(.minutes(1)), arguments: 0..<16)
  func `a guest has every page it touches, held or not, or said to be held`(seed: UInt64) throws {
    let machine = try machine(seed)
    let guest = TouchingGuest(machine, touches: machine.hostPages.shuffled())
    let (ours, theirs) = try ByteChannel.pair()
    let held = try content(machine, lies: seed.isMultiple(of: 2))
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: options([held]))
    let sender = source(machine, ours, .postcopy(hotPageLimit: Int(seed % 3)))
    let thread = try NamedThread(name: "source") { _ = try? sender.run() }
    _ = try engine.run()
    thread.join()
    #expect(guest.value.wrong == [])
    #expect(guest.memory == machine.memory)
    #expect(engine.progress.status == .completed)
    #expect(sender.progress.status == .completed)
  }

  @Test(.timeLimit(.minutes(1)))
  func `pages go as hashes where nobody waits for them`() throws {
    var hashed: UInt64 = 0
    var missed: UInt64 = 0
    for seed in 0..<8 as Range<UInt64> {
      let machine = try machine(100 + seed)
      let guest = TouchingGuest(machine, touches: [])
      let (ours, theirs) = try ByteChannel.pair()
      let held = try content(machine, lies: true)
      let engine = DestinationEngine(channel: theirs, endpoint: guest, options: options([held]))
      let sender = source(machine, ours, .postcopy())
      let thread = try NamedThread(name: "source") { _ = try? sender.run() }
      _ = try engine.run()
      thread.join()
      #expect(guest.memory == machine.memory)
      hashed += sender.report.hashedPages
      missed += sender.report.missedPages
    }
    #expect(hashed > 0)
    #expect(missed > 0)
  }

  @Test(.timeLimit(.minutes(1)))
  func `links that break anywhere cost the guest nothing but time`() throws {
    var breaks = 0
    for seed in 0..<10 as Range<UInt64> { breaks += try breakLinks(seed) }
    #expect(breaks >= 4, "links broke while the machine ran")
  }

  /// Moves a machine over links that break, and says how many did while it ran.
  private func breakLinks(_ seed: UInt64) throws -> Int {
    var breaks = 0
    let machine = try machine(seed)
    var random = SeededRandom(seed: seed)
    let guest = TouchingGuest(machine, touches: machine.hostPages.shuffled())
    let total = Int(machine.blocks.reduce(0) { $0 + $1.usedLength })
    var link = try CutLink(cutAfter: 1 + random.below(total / 8)) { guest.value.isRunning }
    let held = try content(machine, lies: seed.isMultiple(of: 2))
    let engine = DestinationEngine(
      channel: link.destination, endpoint: guest, options: options([held]))
    for attempt in 0..<6 {
      let sender = source(machine, link.source, attempt == 0 ? .postcopy() : .recovery)
      let thread = try NamedThread(name: "source") { _ = try? sender.run() }
      let failure = failure(engine, over: attempt == 0 ? nil : link.destination)
      link.end()
      thread.join()
      guard let failure else { break }
      guard case .interrupted = failure else {
        #expect(attempt == 0 && !guest.value.isRunning, "seed \(seed): \(failure)")
        return breaks
      }
      breaks += 1
      link = try CutLink(cutAfter: attempt == 4 ? .max : 50 + random.below(total / 8))
    }
    #expect(engine.progress.status == .completed, "seed \(seed)")
    #expect(guest.value.wrong == [], "seed \(seed)")
    #expect(guest.memory == machine.memory, "seed \(seed)")
    return breaks
  }

  /// How the engine ends over its first link, or over a new one.
  private func failure(_ engine: DestinationEngine, over link: ByteChannel?) -> MigrationError? {
    do throws(MigrationError) {
      if let link { _ = try engine.resume(over: link) } else { _ = try engine.run() }
      return nil
    } catch {
      return error
    }
  }
}
