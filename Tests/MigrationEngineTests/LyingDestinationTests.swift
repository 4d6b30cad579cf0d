// A destination that does not keep to the protocol.

import MigrationCore
import MigrationEngine
import Simulation
import Synchronization
import Testing
import Transport
import Wire

@Suite struct `A destination that lies, dies or says nothing` {
  private func run(
    _ plan: SourcePlan, peer: @escaping @Sendable (ByteChannel) throws -> Void
  ) throws -> (MigrationError?, MigrationProgress) {
    let (ours, theirs) = try ByteChannel.pair()
    let thread = try NamedThread(name: "liar") {
      try? peer(theirs)
      theirs.shutdownBoth()
    }
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    let engine = SourceEngine(
      channel: ours, endpoint: MemorySource(ModelMachine(seed: 3)), plan: plan, options: options)
    var failure: MigrationError?
    do throws(MigrationError) {
      _ = try engine.run()
    } catch {
      failure = error
    }
    thread.join()
    return (failure, engine.progress)
  }

  /// Reads everything until the source ends the link.
  private static func drain(_ channel: ByteChannel) throws {
    while try !channel.read(atMost: 65536).isEmpty {}
  }

  @Test(.timeLimit(.minutes(1)), arguments: [SourcePlan.postcopy(), .precopy(returnPath: true)])
  func `closing at once is told as a destination that ended`(plan: SourcePlan) throws {
    let (error, _) = try run(plan) { channel in _ = try channel.read(atMost: 4) }
    // What little there is may all be in the kernel by then, and running cannot be ruled out.
    switch error {
    case .destinationClosed, .linkLost(_, .unknown, _): break
    default: Issue.record("\(String(describing: error))")
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func `a failure that is reported is told as one`() throws {
    let (error, progress) = try run(.postcopy()) { channel in
      _ = try channel.read(atMost: 4096)
      try channel.write([0, 1, 0, 4, 0, 0, 0, 1])
      try Self.drain(channel)
    }
    guard case .destinationFailed(1) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(progress.status == .failed)
  }

  @Test(
    .timeLimit(.minutes(1)),
    arguments: [
      [UInt8](repeating: 0xff, count: 64),
      [0, 3, 0, 20, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 4, 0, 7] + Array("pc.ramX".utf8),
      [0, 4, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0],
      [0, 5, 0, 7, 6] + Array("pc.rom".utf8),
      [0, 6, 0, 4, 0, 0, 0, 1],
    ])
  func `nonsense on the return path ends the move with a sentence`(bytes: [UInt8]) throws {
    let (error, _) = try run(.postcopy()) { channel in
      _ = try channel.read(atMost: 16)
      try channel.write(bytes)
      try Self.drain(channel)
    }
    guard case .destinationViolation(let violation, _) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(violation.description.hasPrefix("While "))
  }

  @Test(.timeLimit(.minutes(1)), arguments: [SourcePlan.postcopy(), .recovery, .precopy()])
  func `cancelling ends a silent one at once, and no thread is left`(plan: SourcePlan) throws {
    let (ours, theirs) = try ByteChannel.pair()
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    let engine = SourceEngine(
      channel: ours, endpoint: MemorySource(ModelMachine(seed: 4)), plan: plan, options: options)
    let outcome = Outcome()
    let thread = try NamedThread(name: "source") {
      do throws(MigrationError) {
        _ = try engine.run()
      } catch {
        outcome.error.withLock { $0 = error }
      }
    }
    #expect(try !theirs.read(atMost: 16).isEmpty)
    let start = ContinuousClock.now
    engine.cancel()
    thread.join()
    #expect(ContinuousClock.now - start < .seconds(1))
    guard case .cancelled = outcome.error.withLock({ $0 }) else {
      Issue.record("\(String(describing: outcome.error.withLock { $0 }))")
      return
    }
  }
}

/// How a thread's engine ended.
final class Outcome: Sendable {
  let error = Mutex<MigrationError?>(nil)
}
