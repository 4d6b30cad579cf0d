// Who fills a machine that arrives: the engine in this process where it comes whole, a pager where
// it may run before its memory is there.

import GuestMemory
import MigrationCore
import MigrationEngine
import Pager
import Synchronization
import Transport
import Userfault

/// The receiving of a machine, over one link or several.
protocol MachineReception: AnyObject, Sendable {
  /// Receives the machine; blocks.
  ///
  /// Throws ``PagerError/interrupted(_:)`` where the machine runs and waits for another link.
  ///
  /// - Parameters:
  ///   - channel: the connection to the source.
  ///   - preempt: waits for the one that requested pages come over, where there is to be one.
  func receive(over channel: ByteChannel, preempt: PreemptWait?) throws

  /// Goes on over another link; blocks.
  func resume(over channel: ByteChannel, preempt: PreemptWait?) throws

  /// Ends the link, as if the source had.
  func breakLink()

  /// Gives up, unless the machine runs.
  func cancel()

  /// Lets go of everything because the machine ends.
  func end()
}

extension PagerSession: MachineReception {
  /// What the machine's memory has to report for a pager to serve it.
  static let features: UserfaultFeatures = [.missingShmem, .minorShmem, .threadID]

  /// What it has to report where it is made of huge pages.
  static let hugePageFeatures: UserfaultFeatures = [
    .missingHugetlbfs, .minorHugetlbfs, .threadID,
  ]

  /// What the memory of a machine has to report.
  static func features(for ram: RAMList) -> UserfaultFeatures {
    ram.blocks.contains { $0.backing == .hugePages } ? hugePageFeatures : features
  }

  /// Whether this host lets memory be filled while it is used.
  static let isOffered =
    (try? Userfault.offeredFeatures())?.isSuperset(of: features) == true
}

/// A machine that comes whole, before it runs.
final class WholeReception: MachineReception {
  private let destination: MachineDestination
  private let knownContent: [any KnownContent]?
  private let observer: @Sendable (MigrationCore.MigrationStatus) -> Void
  private let engine = Mutex<DestinationEngine?>(nil)

  /// - Parameters:
  ///   - destination: what is filled.
  ///   - knownContent: what is held here already, where both ends agreed on that.
  ///   - observer: called with every status.
  init(
    _ destination: MachineDestination, knownContent: [any KnownContent]?,
    observer: @escaping @Sendable (MigrationCore.MigrationStatus) -> Void
  ) {
    self.destination = destination
    self.knownContent = knownContent
    self.observer = observer
  }

  func receive(over channel: ByteChannel, preempt: PreemptWait?) throws {
    var options = DestinationOptions()
    options.statusObserver = observer
    options.knownContent = knownContent
    let engine = DestinationEngine(channel: channel, endpoint: destination, options: options)
    self.engine.withLock { $0 = engine }
    // The link ends with it.
    defer { self.engine.withLock { $0 = nil } }
    _ = try engine.run()
  }

  func resume(over channel: ByteChannel, preempt: PreemptWait?) throws {
    throw MachineError.refused("a machine that comes whole is not resumed")
  }

  func breakLink() { engine.withLock { $0 }?.breakLink() }

  func cancel() { engine.withLock { $0 }?.cancel() }

  func end() { cancel() }
}
