// The moment at which a machine goes over, and what a source knows of it then: links, and people,
// that end the move just there; destinations whose last word comes where it is not expected.

import Glibc
import MigrationCore
import Simulation
import Synchronization
import Testing
import Transport
import Wire

@testable import MigrationEngine

@Suite struct `The handover of a machine` {
  /// COMMAND PACKAGED, up to its length.
  private static let package: [UInt8] = [8, 0, 7, 0, 4]
  private static let shutWithFailure: [UInt8] = [0, 1, 0, 4, 0, 0, 0, 1]

  /// A machine whose package is larger than what a socket holds.
  private final class Large: SourceEndpoint {
    let model = MemorySource(ModelMachine(seed: 3))
    let deviceState: DeviceState = {
      var encoder = StreamEncoder()
      try? encoder.appendFullSection(
        SectionHeader(id: 9, name: "d", instanceID: 0, versionID: 1),
        payload: [UInt8](repeating: 7, count: 4 << 20))
      return DeviceState(bytes: encoder.buffer, description: nil)
    }()

    var configuration: StreamConfiguration { model.configuration }
    var blocks: [RAMBlockDescription] { model.blocks }
    var targetPageSize: Int { model.targetPageSize }
    var ramSectionID: UInt32 { model.ramSectionID }

    func read(
      _ page: RAMPageAddress, byteCount: Int, into buffer: UnsafeMutableRawBufferPointer
    ) throws -> PageContent { try model.read(page, byteCount: byteCount, into: buffer) }
  }

  /// Cancels an instant restore when the first bytes of its package have come, or all of them;
  /// what the source then says of the machine.
  private func cancelled(onceWhole: Bool) throws -> (MigrationError?, MigrationStatus) {
    let (ours, theirs) = try ByteChannel.pair()
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    let run = PostcopyRun(
      channel: ours, endpoint: Large(), options: options, beginning: .fresh(hotPageLimit: 0))
    let outcome = Outcome()
    let thread = try NamedThread(name: "source") {
      do throws(MigrationError) {
        try run.run()
      } catch {
        outcome.error.withLock { $0 = error }
      }
    }
    var received: [UInt8] = []
    while !received.contains(Self.package) { received += try theirs.read(atMost: 4096) }
    if onceWhole {
      // What follows the writing of the package has to wait for this.
      try run.machine.withLock { _ in
        while try theirs.waitForBytes(until: .now + .milliseconds(200)) {
          _ = try theirs.read(atMost: 1 << 20)
        }
        run.cancel()
      }
    } else {
      run.cancel()
    }
    thread.join()
    return (outcome.error.withLock { $0 }, run.counters.snapshot.status)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a package that went out whole may run, whatever ends the move just behind it`() throws {
    let (error, status) = try cancelled(onceWhole: true)
    #expect(error?.destinationRunState == .unknown)
    #expect(status == .postcopyPaused)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a package that did not go out whole runs nothing`() throws {
    let (error, status) = try cancelled(onceWhole: false)
    #expect(error?.destinationRunState == .notStarted)
    #expect(status == .cancelled)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a destination that fails while its source gets ready is not sent the package`() throws {
    let (ours, theirs) = try ByteChannel.pair()
    let received = Mutex<[UInt8]>([])
    let machine = WritingMemory(
      pageCounts: [20],
      onTakingState: {
        // Its source hears of it while it takes the state of the devices.
        try? theirs.write(Self.shutWithFailure)
        usleep(100_000)
      }
    ) { _ in nil }
    let peer = try NamedThread(name: "peer") {
      while let bytes = try? theirs.read(atMost: 65536), !bytes.isEmpty {
        received.withLock { $0 += bytes }
      }
    }
    var options = LiveSourceOptions()
    options.usesReturnPath = true
    options.allowsPostcopy = true
    let sender = LiveSourceEngine(channel: ours, endpoint: machine, options: options)
    _ = sender.startPostcopy()
    let error = #expect(throws: MigrationError.self) { try sender.run() }
    peer.join()
    guard case .destinationFailed(1) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(sender.account.progress.status == .failed)
    #expect(!received.withLock { $0 }.contains(Self.package))
  }

  @Test(.timeLimit(.minutes(1)), arguments: [false, true])
  func `a destination that fails where a word of it is waited for ends the move at once`(
    usesPreempt: Bool
  ) throws {
    let (ours, theirs) = try ByteChannel.pair()
    let machine = WritingMemory(pageCounts: [20]) { _ in nil }
    let peer = try NamedThread(name: "peer") {
      _ = try? theirs.read(atMost: 16)
      try? theirs.write(Self.shutWithFailure)
      while let bytes = try? theirs.read(atMost: 65536), !bytes.isEmpty {}
    }
    var options = LiveSourceOptions()
    options.usesReturnPath = true
    options.announcementPatience = .seconds(20)
    options.usesKnownPages = !usesPreempt
    options.allowsPostcopy = usesPreempt
    if usesPreempt { options.openPreemptChannel = { throw Refused(description: "never asked") } }
    let sender = LiveSourceEngine(channel: ours, endpoint: machine, options: options)
    if usesPreempt { _ = sender.startPostcopy() }
    let start = ContinuousClock.now
    let error = #expect(throws: MigrationError.self) { try sender.run() }
    #expect(ContinuousClock.now - start < .seconds(5))
    peer.join()
    guard case .destinationFailed(1) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func `a machine that was held goes over though no page is left`() throws {
    let (ours, theirs) = try ByteChannel.pair()
    let kept = SharedKept()
    let engine = DestinationEngine(channel: theirs, endpoint: MemoryDestination(kept))
    let destination = try NamedThread(name: "destination") { _ = try? engine.run() }
    var options = LiveSourceOptions()
    options.usesReturnPath = true
    options.settings.pausesBeforeSwitchover = true
    let held = Mutex<LiveSourceEngine?>(nil)
    options.statusObserver = { status in
      if status == .preSwitchover { _ = held.withLock { $0 }?.proceed() }
    }
    let sender = LiveSourceEngine(
      channel: ours, endpoint: WritingMemory(pageCounts: [20]) { _ in nil }, options: options)
    held.withLock { $0 = sender }
    #expect(throws: Never.self) { try sender.run() }
    destination.join()
    #expect(sender.account.progress.status == .completed)
    #expect(kept.value.isComplete)
  }

  @Test(.timeLimit(.minutes(1)))
  func `giving up the wait for a destination that has all is no confirmation by it`() throws {
    let (ours, theirs) = try ByteChannel.pair()
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    let sender = SourceEngine(
      channel: ours, endpoint: MemorySource(ModelMachine(seed: 4)), plan: .precopy(),
      options: options)
    let outcome = Outcome()
    let thread = try NamedThread(name: "source") {
      do throws(MigrationError) {
        _ = try sender.run()
      } catch {
        outcome.error.withLock { $0 = error }
      }
    }
    while try !theirs.read(atMost: 65536).isEmpty {}
    #expect(sender.progress.status == .device)
    sender.cancel()
    thread.join()
    guard case .cancelled(.unknown) = outcome.error.withLock({ $0 }) else {
      Issue.record("\(String(describing: outcome.error.withLock { $0 }))")
      return
    }
    #expect(sender.progress.status == .cancelled)
  }

  @Test(.timeLimit(.minutes(1)))
  func `who hears of a state may ask how far everything is`() throws {
    let (ours, theirs) = try ByteChannel.pair()
    let machine = ModelMachine(seed: 9)
    let qemu = ModelQEMU(machine)
    let destination = try qemu.serve(theirs)
    let asked = Mutex<SourceEngine?>(nil)
    let heard = Mutex<[MigrationStatus]>([])
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    options.statusObserver = { status in
      _ = asked.withLock { $0 }?.report
      heard.withLock { $0.append(status) }
    }
    let sender = SourceEngine(
      channel: ours, endpoint: MemorySource(machine), plan: .postcopy(), options: options)
    asked.withLock { $0 = sender }
    _ = try sender.run()
    destination.join()
    let statuses = heard.withLock { $0 }
    #expect(statuses.prefix(2) == [.setup, .active])
    #expect(statuses.suffix(2) == [.postcopyActive, .completed])
  }

  @Test(.timeLimit(.minutes(1)))
  func `the limit of what goes unasked may change while it goes`() throws {
    let (ours, theirs) = try ByteChannel.pair()
    let machine = ModelMachine(seed: 9)
    let qemu = ModelQEMU(machine)
    let destination = try qemu.serve(theirs)
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    options.bandwidthLimit = 1
    let changed = Mutex<SourceEngine?>(nil)
    let thread = Mutex<NamedThread?>(nil)
    options.statusObserver = { status in
      guard status == .postcopyActive else { return }
      // By then the first batch has gone, after which there are hours to wait.
      let late = try? NamedThread(name: "change") {
        usleep(50_000)
        changed.withLock { $0 }?.change(bandwidthLimit: nil)
      }
      thread.withLock { $0 = late }
    }
    let sender = SourceEngine(
      channel: ours, endpoint: MemorySource(machine), plan: .postcopy(), options: options)
    changed.withLock { $0 = sender }
    let report = try sender.run()
    destination.join()
    thread.withLock { $0.take() }?.join()
    #expect(report.total >= .milliseconds(50))
    #expect(qemu.model.firstWrongPage() == nil)
  }
}
