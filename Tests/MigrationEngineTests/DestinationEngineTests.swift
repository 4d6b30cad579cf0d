// The destination engine over a real socket pair, whole streams and broken ones.

import MigrationCore
import MigrationEngine
import Simulation
import Synchronization
import Testing
import Transport
import Wire

@Suite struct `The receiving engine` {
  private struct Ending {
    var report: DestinationReport?
    var error: MigrationError?
    var kept: SharedKept
    var answers: [UInt8]
    /// What it told of itself, in order.
    var statuses: [MigrationStatus]
    var status: MigrationStatus { statuses.last ?? .none }
  }

  /// Receives `stream`, whose sender closes its side if `closes` and keeps it open otherwise.
  private func receive(
    _ stream: [UInt8], closes: Bool = true, failure: MemoryDestination.Failure? = nil
  ) throws -> Ending {
    let (ours, theirs) = try ByteChannel.pair()
    let kept = SharedKept()
    let sender = try NamedThread(name: "sender") {
      try? theirs.write(stream)
      if closes { try? theirs.shutdownWrite() }
    }
    var options = DestinationOptions()
    options.decoder.targetPageSize = 1024
    options.readByteCount = 4096
    let statuses = Mutex<[MigrationStatus]>([])
    options.statusObserver = { status in statuses.withLock { $0.append(status) } }
    let engine = DestinationEngine(
      channel: ours, endpoint: MemoryDestination(kept, failure: failure), options: options)
    var ending = Ending(kept: kept, answers: [], statuses: [])
    do throws(MigrationError) {
      ending.report = try engine.run()
    } catch {
      ending.error = error
    }
    ours.shutdownBoth()
    sender.join()
    while let bytes = try? theirs.read(atMost: 4096), !bytes.isEmpty { ending.answers += bytes }
    ending.statuses = statuses.withLock { $0 }
    #expect(engine.progress.status == ending.status)
    return ending
  }

  private static let success: [UInt8] = [0, 1, 0, 4, 0, 0, 0, 0]
  private static let failure: [UInt8] = [0, 1, 0, 4, 0, 0, 0, 1]

  @Test(.timeLimit(.minutes(1)), arguments: 0..<30)
  func `a live machine is kept as it was when it stopped`(seed: UInt64) throws {
    let machine = ModelMachine(seed: seed)
    let live = try LiveSourceModel(machine: machine, seed: seed)
    let ending = try receive(live.stream, closes: !live.hasReturnPath)
    #expect(ending.error == nil)
    #expect(ending.kept.value.isComplete)
    #expect(ending.kept.memory == live.memory)
    #expect(ending.kept.value.deviceState == machine.deviceState)
    #expect(ending.report?.confirmedToSource == live.hasReturnPath)
    #expect(ending.answers.suffix(8) == (live.hasReturnPath ? Self.success[...] : []))
    #expect(ending.statuses == [.setup, .active, .completed], "as QEMU's incoming side tells it")
    #expect(ending.report?.bytesReceived == UInt64(live.stream.count))
  }

  @Test(.timeLimit(.minutes(1)), arguments: 0..<30)
  func `a stream that is cut anywhere is not kept`(seed: UInt64) throws {
    let live = try LiveSourceModel(machine: ModelMachine(seed: seed), seed: seed)
    var random = SeededRandom(seed: seed)
    let length = random.below(live.stream.count - 1)
    let ending = try receive(Array(live.stream.prefix(length)))
    guard case .sourceClosed(_, let bytes, _) = ending.error else {
      Issue.record("\(String(describing: ending.error)) at \(length)")
      return
    }
    #expect(bytes == UInt64(length))
    #expect(!ending.kept.value.isComplete)
    #expect(ending.status == .failed)
  }

  @Test(
    .timeLimit(.minutes(1)),
    arguments: [
      MemoryDestination.Failure.prepare, .place, .deviceState, .complete,
    ])
  func `a source with return path hears when nothing could be kept`(
    failure: MemoryDestination.Failure
  ) throws {
    let live = try (0..<50).lazy
      .map { try LiveSourceModel(machine: ModelMachine(seed: $0), seed: $0) }
      .first { $0.hasReturnPath }
    let ending = try receive(try #require(live).stream, closes: false, failure: failure)
    guard case .endpoint(_, let cause) = ending.error else {
      Issue.record("\(String(describing: ending.error))")
      return
    }
    #expect("\(cause)" == "no room")
    #expect(ending.answers.suffix(8) == Self.failure[...])
  }

  @Test(.timeLimit(.minutes(1)))
  func `a source that goes on to postcopy is refused in words`() throws {
    var encoder = StreamEncoder(targetPageSize: 1024)
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "pc"))
    try encoder.append(.openReturnPath)
    try encoder.append(
      .postcopyAdvise(PostcopyAdvice(pageSizeSummary: 1024, targetPageSize: 1024)))
    try encoder.appendSectionStart(.ram(id: 1))
    try encoder.appendRAMSetup([RAMBlockDescription(name: "pc.ram", usedLength: 4096)])
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 1)
    try encoder.append(
      .ramDiscard(block: "pc.ram", ranges: [RAMDiscardRange(start: 0, length: 4096)]))
    let ending = try receive(encoder.buffer, closes: false)
    guard case .refused(let reason, _) = ending.error else {
      Issue.record("\(String(describing: ending.error))")
      return
    }
    #expect(reason.contains("postcopy"))
    #expect(ending.answers == Self.failure)
  }

  @Test(.timeLimit(.minutes(1)))
  func `what is no migration stream is named as such`() throws {
    let ending = try receive(Array("GET / HTTP/1.1\r\n\r\n".utf8))
    guard case .malformedStream(_, let cause) = ending.error else {
      Issue.record("\(String(describing: ending.error))")
      return
    }
    #expect((cause as? WireError)?.kind == .notAStream)
  }

  @Test(.timeLimit(.minutes(1)))
  func `cancelling ends a wait at once`() throws {
    let (ours, theirs) = try ByteChannel.pair()
    let engine = DestinationEngine(channel: ours, endpoint: MemoryDestination(SharedKept()))
    let outcome = Outcome()
    let thread = try NamedThread(name: "destination") {
      do throws(MigrationError) {
        _ = try engine.run()
      } catch {
        outcome.error.withLock { $0 = error }
      }
    }
    engine.cancel()
    thread.join()
    guard case .cancelled(.notStarted) = outcome.error.withLock({ $0 }) else {
      Issue.record("\(String(describing: outcome.error.withLock { $0 }))")
      return
    }
    #expect(engine.progress.status == .cancelled)
    _ = theirs
  }

  @Test(.timeLimit(.minutes(1)), arguments: [false, true])
  func `the two engines understand each other`(returnPath: Bool) throws {
    let machine = ModelMachine(seed: 12)
    let (ours, theirs) = try ByteChannel.pair()
    let kept = SharedKept()
    let receiver = DestinationEngine(channel: theirs, endpoint: MemoryDestination(kept))
    let thread = try NamedThread(name: "destination") { _ = try? receiver.run() }
    var options = SourceOptions()
    options.waitsForClose = false
    let sender = SourceEngine(
      channel: ours, endpoint: MemorySource(machine), plan: .precopy(returnPath: returnPath),
      options: options)
    _ = try sender.run()
    thread.join()
    #expect(receiver.progress.status == .completed)
    #expect(kept.memory == machine.memory)
    #expect(kept.value.machine == "pc-q35-10.0")
  }
}
