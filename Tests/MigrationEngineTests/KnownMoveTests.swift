// Both engines with pages that travel as hashes: while the machine runs, and while its memory
// follows it; with destinations that lie, and links that break.

import MigrationCore
import MigrationEngine
import PageHash
import Simulation
import Synchronization
import Testing
import Transport
import Wire

@Suite struct `Moves of pages that are known` {
  private struct Moved {
    var source = LiveAccount()
    var report: DestinationReport?
    var kept = MemoryDestination.Kept()
    var sourceError: MigrationError?
    var error: MigrationError?
    var memory: [RAMPageAddress: [UInt8]] {
      kept.memory.filter { $0.value != [UInt8](repeating: 0, count: 4096) }
    }
  }

  /// Moves a machine by precopy.
  private func move(
    _ machine: WritingMemory, known contents: [any KnownContent]?,
    over link: (ByteChannel, ByteChannel)? = nil, patience: Duration = .seconds(5)
  ) throws -> Moved {
    let (ours, theirs) = try link ?? ByteChannel.pair()
    let kept = SharedKept()
    var options = DestinationOptions()
    options.knownContent = contents
    let engine = DestinationEngine(
      channel: theirs, endpoint: MemoryDestination(kept), options: options)
    var sourceOptions = LiveSourceOptions()
    sourceOptions.usesReturnPath = true
    sourceOptions.usesKnownPages = contents != nil
    sourceOptions.announcementPatience = patience
    let sender = LiveSourceEngine(channel: ours, endpoint: machine, options: sourceOptions)
    let outcome = Mutex(Moved())
    let thread = try NamedThread(name: "destination") {
      do throws(MigrationError) {
        let report = try engine.run()
        outcome.withLock { $0.report = report }
      } catch {
        outcome.withLock { $0.error = error }
      }
    }
    do throws(MigrationError) {
      try sender.run()
    } catch {
      outcome.withLock { $0.sourceError = error }
    }
    thread.join()
    var moved = outcome.withLock { $0 }
    moved.source = sender.account
    moved.kept = kept.value
    return moved
  }

  /// A machine whose pages are numbered; every tenth is zeros.
  private func machine(
    _ seed: UInt64, pages: Int = 300, onSend: @escaping @Sendable (WritingMemory) -> Void = { _ in }
  ) -> WritingMemory {
    WritingMemory(pageCounts: [pages, 40], onSend: onSend) { page in
      let number = page.offset >> 12
      return number % 10 == 9
        ? nil : knownPage(seed &* 10_000 &+ number &+ UInt64(page.blockIndex) * 5000 &+ 1)
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func `a machine that is held there goes in a hundredth of its bytes`() throws {
    let machine = machine(1)
    let pages = machine.content
    let moved = try move(machine, known: [try MadeContent(Array(pages.values))])
    #expect(moved.sourceError == nil)
    #expect(moved.error == nil)
    #expect(moved.memory == pages)
    let progress = moved.source.progress
    #expect(progress.hashedPages == UInt64(pages.count))
    #expect(progress.missedPages == 0)
    #expect(progress.announcedPages == UInt64(pages.count))
    #expect(progress.bytesSent < UInt64(pages.count * 4096 / 60))
    #expect(progress.savedBytes == UInt64(pages.count * 4096))
    #expect(moved.report?.hashedPages == UInt64(pages.count))
  }

  @Test(.timeLimit(.minutes(1)), arguments: 0..<8)
  func `whatever is held there, and whatever is written meanwhile, memory is the same`(
    seed: UInt64
  ) throws {
    let random = Mutex(SeededRandom(seed: seed))
    let written = Atomic<Int>(0)
    let machine = machine(seed) { machine in
      // The machine writes new pages, and pages back to what they were, while it is sent.
      guard written.add(1, ordering: .relaxed).oldValue < 60 else { return }
      random.withLock { random in
        let page = RAMPageAddress(blockIndex: 0, offset: UInt64(random.below(300)) << 12)
        let number = UInt64(random.below(400))
        machine.write(page, knownPage(seed &* 10_000 &+ number &+ 1))
      }
    }
    let held = machine.content.values.filter { _ in random.withLock { $0.below(3) > 0 } }
    let contents = [
      try MadeContent(Array(held.prefix(held.count / 2))),
      try MadeContent(Array(held.suffix(held.count / 2))),
    ]
    let moved = try move(machine, known: contents)
    #expect(moved.sourceError == nil)
    #expect(moved.error == nil)
    #expect(moved.memory == machine.content)
    #expect(moved.source.progress.hashedPages > 0)
  }

  @Test(.timeLimit(.minutes(1)), arguments: [false, true])
  func `a destination that lies about what it holds gets every page all the same`(
    handsOutOther: Bool
  ) throws {
    let machine = machine(3)
    let pages = machine.content
    let all = try pages.values.map { try knownHash($0).prefix }
    let liar = try MadeContent([], announces: all, lies: handsOutOther)
    let moved = try move(machine, known: [liar])
    #expect(moved.sourceError == nil)
    #expect(moved.error == nil)
    #expect(moved.memory == pages)
    let progress = moved.source.progress
    #expect(progress.missedPages == progress.hashedPages)
    #expect(progress.missedPages > 0)
    #expect(progress.savedBytes == 0)
  }

  @Test(.timeLimit(.minutes(1)))
  func `prefixes that are the same by chance cost a round trip and no wrong byte`() throws {
    let machine = machine(4)
    let pages = machine.content
    // Every third page's prefix is announced for a page that is another one.
    let some = try pages.values.enumerated().filter { $0.offset % 3 == 0 }
      .map { try knownHash($0.element).prefix }
    let content = try MadeContent([knownPage(77)], announces: some)
    let moved = try move(machine, known: [content])
    #expect(moved.memory == pages)
    #expect(moved.source.progress.missedPages == UInt64(some.count))
  }

  @Test(.timeLimit(.minutes(1)))
  func `a destination that holds nothing gets all pages, next to none of them hashed`() throws {
    let machine = machine(5)
    let moved = try move(machine, known: [])
    #expect(moved.memory == machine.content)
    #expect(moved.source.progress.hashedPages == 0)
  }

  @Test(.timeLimit(.minutes(1)))
  func `an announcement that takes too long is not waited for`() throws {
    let machine = machine(6)
    let moved = try move(
      machine, known: [SlowContent()], patience: .milliseconds(50))
    #expect(moved.sourceError == nil)
    #expect(moved.memory == machine.content)
  }

  @Test(.timeLimit(.minutes(1)), arguments: [false, true])
  func `a destination that fails with its answer, or in place of it, ends the move`(
    inPlace: Bool
  ) throws {
    let machine = machine(7)
    let contents = [try MadeContent(Array(machine.content.values))]
    let (source, near) = try ByteChannel.pair()
    let (far, destination) = try ByteChannel.pair()
    let forth = try NamedThread(name: "forth") {
      while let bytes = try? near.read(atMost: 65536), !bytes.isEmpty {
        guard (try? far.write(bytes)) != nil else { break }
      }
      try? far.shutdownWrite()
    }
    let back = try NamedThread(name: "back") {
      var left: [UInt8] = []
      while let bytes = try? far.read(atMost: 65536), !bytes.isEmpty {
        left += bytes
        var passed: [UInt8] = []
        while left.count >= 4, case let length = 4 + Int(left[2]) << 8 + Int(left[3]),
          left.count >= length
        {
          let message = Array(left.prefix(length))
          left.removeFirst(length)
          let isAnswer = message.starts(with: [0, 2, 0, 4, 0x47, 0x57])
          if !isAnswer || !inPlace { passed += message }
          // Both in one piece: whoever reads the one has the other.
          if isAnswer { passed += [0, 1, 0, 4, 0, 0, 0, 1] }
        }
        try? near.write(passed)
      }
      near.shutdownBoth()
    }
    let start = ContinuousClock.now
    let moved = try move(machine, known: contents, over: (source, destination))
    #expect(ContinuousClock.now - start < .seconds(20))
    guard case .destinationFailed(1) = moved.sourceError else {
      Issue.record("\(String(describing: moved.sourceError))")
      return
    }
    for thread in [forth, back] { thread.join() }
    #expect(!moved.kept.isComplete)
  }

  @Test(.timeLimit(.minutes(1)), arguments: 0..<10)
  func `a link that breaks anywhere leaves one machine`(seed: UInt64) throws {
    let machine = machine(seed)
    let pages = machine.content
    var random = SeededRandom(seed: seed)
    let held = Array(pages.values).filter { _ in random.below(2) == 0 }
    let link = try CutLink(cutAfter: 100 + random.below(pages.count * 2400))
    let moved = try move(
      machine, known: [try MadeContent(held)], over: (link.source, link.destination))
    link.end()
    if moved.sourceError == nil {
      #expect(moved.kept.isComplete)
      #expect(moved.memory == pages)
    } else if moved.sourceError?.destinationRunState == .notStarted {
      #expect(!moved.kept.isComplete)
    }
  }
}

/// Content whose announcement begins and does not end before it is given up.
final class SlowContent: KnownContent {
  func prepare() {}

  func announce(_ take: ([UInt64]) throws -> Bool) throws {
    var number: UInt64 = 1
    while try take([number]) { number += 1 }
  }

  func read(_ hashes: [ContentHash], into pages: inout MutableRawSpan) -> [Bool] {
    hashes.map { _ in false }
  }
}
