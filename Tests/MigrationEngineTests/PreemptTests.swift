// The two engines with a channel of their own for requested pages (`postcopy-preempt`), over real
// socket pairs of which either may break.

import MigrationCore
import MigrationEngine
import Simulation
import Synchronization
import Testing
import Transport
import Wire

@Suite struct `Requested pages on a channel of their own` {
  /// A machine all of whose blocks are made of target pages.
  private func machine(_ seed: UInt64) throws -> ModelMachine {
    try #require(
      (0..<200).lazy.map { ModelMachine(seed: seed &* 1000 &+ $0) }.first { machine in
        machine.blocks.allSatisfy { $0.pageSize == nil }
          && machine.blocks.reduce(0) { $0 + $1.usedLength } > 20 << 10
      })
  }

  private func source(
    _ machine: ModelMachine, _ channel: ByteChannel, _ plan: SourcePlan,
    isSlow: Bool = true, _ opening: PreemptOpening?
  ) -> SourceEngine {
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    options.openPreemptChannel = opening
    // What nobody asks for goes a page at a time, and leaves the guest something to ask for.
    options.busyWindow = 3 << 10
    options.quietAfter = .seconds(10)
    options.bandwidthLimit = isSlow ? 500_000 : nil
    return SourceEngine(
      channel: channel, endpoint: MemorySource(machine), plan: plan, options: options)
  }

  @Test(.timeLimit(.minutes(1)), arguments: 0..<20)
  func `a guest has every page it touches, and what it asks for goes past the rest`(
    seed: UInt64
  ) throws {
    let machine = try machine(seed)
    let guest = TouchingGuest(machine, touches: machine.hostPages.shuffled())
    let (ours, theirs) = try ByteChannel.pair()
    let (urgent, urgentEnd) = try CountedLink.pair()
    let preempt = PreemptReception()
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: .takingPostcopy)
    let sender = source(machine, ours, .postcopy(hotPageLimit: Int(seed % 3))) {
      preempt.take(urgentEnd)
      return urgent.channel
    }
    let failure = Mutex<String?>(nil)
    let thread = try NamedThread(name: "source") {
      do { _ = try sender.run() } catch { failure.withLock { $0 = "\(error)" } }
    }
    _ = try engine.run(preempt: preempt)
    thread.join()
    #expect(failure.withLock { $0 } == nil)
    #expect(guest.value.wrong == [])
    #expect(guest.value.isOrdinary)
    #expect(guest.memory == machine.memory)
    #expect(engine.progress.status == .completed)
    #expect(sender.progress.status == .completed)
    #expect(sender.report.pageRequests == 0 || urgent.byteCount > 0)
  }

  @Test(.timeLimit(.minutes(1)), arguments: [false, true])
  func `either channel that breaks is the link, and a recovery makes both anew`(
    breaksUrgent: Bool
  ) throws {
    var breaks = 0
    for seed in 0..<20 as Range<UInt64> { breaks += try breakLinks(seed, breaksUrgent) }
    #expect(breaks >= 8, "links broke while the machine ran")
  }

  /// Moves a machine over links one of whose channels breaks; how many did while it ran.
  private func breakLinks(_ seed: UInt64, _ breaksUrgent: Bool) throws -> Int {
    var breaks = 0
    let machine = try machine(seed)
    var random = SeededRandom(seed: seed)
    let guest = TouchingGuest(machine, touches: machine.hostPages.shuffled())
    let total = Int(machine.blocks.reduce(0) { $0 + $1.usedLength })
    let engine = Mutex<DestinationEngine?>(nil)
    for attempt in 0..<7 {
      let limit = attempt == 6 ? Int.max : 200 + random.below(total / 4)
      let main = try CutLink(cutAfter: breaksUrgent ? .max : limit) { guest.value.isRunning }
      let urgent = try CutLink(cutAfter: breaksUrgent ? limit / 4 : .max) {
        guest.value.isRunning
      }
      let preempt = PreemptReception()
      let (near, far) = (urgent.source, urgent.destination)
      let sender = source(machine, main.source, attempt == 0 ? .postcopy() : .recovery) {
        preempt.take(far)
        return near
      }
      let thread = try NamedThread(name: "source") { _ = try? sender.run() }
      var failure: MigrationError?
      do throws(MigrationError) {
        if let engine = engine.withLock({ $0 }) {
          _ = try engine.resume(over: main.destination, preempt: preempt)
        } else {
          let new = DestinationEngine(
            channel: main.destination, endpoint: guest, options: .takingPostcopy)
          engine.withLock { $0 = new }
          _ = try new.run(preempt: preempt)
        }
      } catch {
        failure = error
      }
      main.end()
      urgent.end()
      thread.join()
      guard let failure else { break }
      guard case .interrupted = failure else {
        Issue.record("seed \(seed): \(failure)")
        return breaks
      }
      breaks += 1
      #expect(engine.withLock { $0?.progress.status } == .postcopyPaused)
    }
    #expect(engine.withLock { $0?.progress.status } == .completed, "seed \(seed)")
    #expect(guest.value.wrong == [], "seed \(seed)")
    #expect(guest.memory == machine.memory, "seed \(seed)")
    return breaks
  }

  @Test(.timeLimit(.minutes(1)))
  func `a destination that waits for the second channel in vain says so, and nothing runs`() throws
  {
    let machine = try machine(4)
    let guest = TouchingGuest(machine, touches: [])
    let (ours, theirs) = try ByteChannel.pair()
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: .takingPostcopy)
    let sender = source(machine, ours, .postcopy(), nil)
    let failure = Mutex<MigrationError?>(nil)
    let thread = try NamedThread(name: "source") {
      do throws(MigrationError) {
        _ = try sender.run()
      } catch {
        failure.withLock { $0 = error }
      }
    }
    let error = #expect(throws: MigrationError.self) {
      try engine.run(preempt: PreemptReception(patience: .milliseconds(100)))
    }
    thread.join()
    #expect(error?.description.contains("postcopy-preempt") == true)
    #expect(!guest.value.isRunning)
    #expect(failure.withLock { $0 }?.destinationRunState == .notStarted)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a source that cannot open the second channel hands nothing over`() throws {
    let machine = try machine(5)
    let guest = TouchingGuest(machine, touches: [])
    let (ours, theirs) = try ByteChannel.pair()
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: .takingPostcopy)
    let thread = try NamedThread(name: "destination") { _ = try? engine.run() }
    let sender = source(machine, ours, .postcopy()) { throw Refused(description: "refused") }
    let error = #expect(throws: MigrationError.self) { try sender.run() }
    thread.join()
    #expect(error?.destinationRunState == .notStarted)
    #expect(error?.description.contains("postcopy-preempt") == true)
    #expect(!guest.value.isRunning)
    #expect(sender.progress.status == .failed)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a source that ends the second channel with a word is understood`() throws {
    let machine = try machine(6)
    let guest = TouchingGuest(machine, touches: machine.hostPages.shuffled())
    let (ours, theirs) = try ByteChannel.pair()
    let (near, far) = try ByteChannel.pair()
    let preempt = PreemptReception()
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: .takingPostcopy)
    // The word comes before the end of the stream, as it may over independent channels.
    preempt.take(far)
    var encoder = StreamEncoder(targetPageSize: 1024)
    encoder.appendRAMEndOfSection()
    try near.write(encoder.buffer)
    try near.shutdownWrite()
    let sender = source(machine, ours, .postcopy(), nil)
    let thread = try NamedThread(name: "source") { _ = try? sender.run() }
    _ = try engine.run(preempt: preempt)
    thread.join()
    #expect(guest.memory == machine.memory)
    #expect(sender.progress.status == .completed)
  }
}

/// A connection that counts what the source writes to it.
private final class CountedLink: Sendable {
  let channel: ByteChannel
  private let count = Atomic<Int>(0)

  private init(_ channel: ByteChannel) { self.channel = channel }

  var byteCount: Int { count.load(ordering: .relaxed) }

  static func pair() throws -> (CountedLink, ByteChannel) {
    let (source, near) = try ByteChannel.pair()
    let (far, destination) = try ByteChannel.pair()
    let link = CountedLink(source)
    _ = try NamedThread(name: "forth") {
      while let bytes = try? near.read(atMost: 4096), !bytes.isEmpty {
        link.count.add(bytes.count, ordering: .relaxed)
        guard (try? far.write(bytes)) != nil else { break }
      }
      try? far.shutdownWrite()
    }
    _ = try NamedThread(name: "back") {
      while let bytes = try? far.read(atMost: 16), !bytes.isEmpty {}
      near.shutdownBoth()
    }
    return (link, destination)
  }
}
