// The source engine over a real socket pair, every plan and every way to end it.

import MigrationCore
import MigrationEngine
import Simulation
import Synchronization
import Testing
import Transport
import Wire

@Suite struct `The sending engine` {
  private func options() -> SourceOptions {
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    return options
  }

  private func engine(
    _ source: MemorySource, _ channel: ByteChannel, _ plan: SourcePlan
  ) -> SourceEngine {
    SourceEngine(channel: channel, endpoint: source, plan: plan, options: options())
  }

  @Test(.timeLimit(.minutes(1)), arguments: 0..<20)
  func `an instant restore arrives whole, and its requests are remembered`(seed: UInt64) throws {
    let machine = ModelMachine(seed: seed)
    let pages = machine.hostPages.shuffled()
    let qemu = ModelQEMU(
      machine, touches: Array(pages.prefix(20)), loadTouches: Array(pages.suffix(2)))
    let (ours, theirs) = try ByteChannel.pair()
    let thread = try qemu.serve(theirs)
    let hot = Int(seed % 3) * 2
    let sender = engine(
      MemorySource(
        machine,
        demandOrder: DemandOrder(
          requested: pages.prefix(5).map { DemandedPage($0, broughtBefore: 0) })), ours,
      .postcopy(hotPageLimit: hot))
    let report = try sender.run()
    thread.join()
    #expect(qemu.violation == nil)
    #expect(qemu.model.state == .completed)
    #expect(qemu.model.firstWrongPage() == nil)
    #expect(sender.progress.status == .completed)
    #expect(sender.progress.remainingRAMBytes == 0)
    #expect(report.pageRequests >= report.demandOrder.requested.count)
    #expect(Set(report.demandOrder.requested.map(\.address)).isSubset(of: Set(pages)))
    #expect(report.switchover != nil)
    #expect(report.running != nil)
    #expect(report.requestLatency.count <= report.pageRequests)
  }

  @Test(.timeLimit(.minutes(1)), arguments: 0..<15)
  func `a restore survives any number of broken links`(seed: UInt64) throws {
    let machine = ModelMachine(seed: seed)
    var random = SeededRandom(seed: seed)
    let total = Int(machine.blocks.reduce(0) { $0 + $1.usedLength })
    let qemu = ModelQEMU(machine, touches: machine.hostPages.shuffled())
    var plan = SourcePlan.postcopy()
    for attempt in 0..<6 {
      let (ours, theirs) = try ByteChannel.pair()
      let cut = attempt == 5 ? Int.max : 1 + random.below(total / 2 + 600)
      let thread = try qemu.serve(theirs, cutAfter: cut)
      let sender = engine(MemorySource(machine), ours, plan)
      var failure: MigrationError?
      do throws(MigrationError) {
        _ = try sender.run()
      } catch {
        failure = error
      }
      thread.join()
      #expect(qemu.violation == nil)
      guard let failure else {
        #expect(qemu.model.state == .completed)
        break
      }
      #expect(failure.description.hasSuffix("."))
      switch qemu.model.state {
      case .paused:
        #expect(failure.destinationRunState != .notStarted)
        #expect(sender.progress.status == .postcopyPaused)
        try qemu.model.recover()
        plan = .recovery
      case .dead:
        #expect(failure.destinationRunState != .running)
        return
      default:
        #expect(qemu.model.state == .completed)
        return
      }
    }
    #expect(qemu.model.firstWrongPage() == nil)
  }

  @Test(.timeLimit(.minutes(1)), arguments: [false, true])
  func `a recovery that nobody answers is not told to have been active`(isInDoubt: Bool) throws {
    let (ours, theirs) = try ByteChannel.pair()
    theirs.shutdownBoth()
    let statuses = Mutex<[MigrationStatus]>([])
    var options = SourceOptions()
    options.isDestinationInDoubt = isInDoubt
    options.statusObserver = { status in statuses.withLock { $0.append(status) } }
    let sender = SourceEngine(
      channel: ours, endpoint: MemorySource(ModelMachine(seed: 3)), plan: .recovery,
      options: options)
    let error = #expect(throws: MigrationError.self) { try sender.run() }
    #expect(error?.destinationRunState == (isInDoubt ? .unknown : .running))
    #expect(statuses.withLock { $0 } == [.postcopyRecover, .postcopyPaused])
  }

  @Test(.timeLimit(.minutes(1)), arguments: [false, true])
  func `an eager restore arrives whole`(returnPath: Bool) throws {
    for seed in 0..<10 as Range<UInt64> {
      let machine = ModelMachine(seed: seed)
      let qemu = ModelQEMU(machine, hasPostcopy: false)
      let (ours, theirs) = try ByteChannel.pair()
      let thread = try qemu.serve(theirs)
      let sender = engine(MemorySource(machine), ours, .precopy(returnPath: returnPath))
      let report = try sender.run()
      thread.join()
      #expect(qemu.violation == nil)
      #expect(qemu.model.state == .completed)
      #expect(qemu.model.firstWrongPage() == nil)
      #expect(report.pageRequests == 0)
      #expect(sender.progress.remainingRAMBytes == 0)
      #expect(sender.progress.status == .completed)
    }
  }

  @Test(.timeLimit(.minutes(1)))
  func `damaged pages are held back, all others served, and the stream not ended`() throws {
    let machine = ModelMachine(seed: 5)
    let damaged = Set(machine.hostPages.shuffled().prefix(2))
    let qemu = ModelQEMU(machine, touches: machine.hostPages.filter { !damaged.contains($0) })
    let (ours, theirs) = try ByteChannel.pair()
    let thread = try qemu.serve(theirs)
    let sender = engine(MemorySource(machine, damaged: damaged), ours, .postcopy())
    let error = #expect(throws: MigrationError.self) { try sender.run() }
    thread.join()
    guard case .damagedPages(let count, .running) = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(count == damaged.count)
    #expect(error?.isRecoverable ?? false)
    #expect(Set(sender.report.damagedPages) == damaged)
    #expect(qemu.model.state == .paused)
    let missing = machine.hostPages.filter { page in
      qemu.model.memory[page.blockIndex][
        Int(page.offset) / Int(machine.blocks[page.blockIndex].pageSize ?? 1024)] == nil
    }
    #expect(Set(missing) == damaged)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a damaged page ends an eager restore before anything runs`() throws {
    let machine = ModelMachine(seed: 6)
    let qemu = ModelQEMU(machine, hasPostcopy: false)
    let (ours, theirs) = try ByteChannel.pair()
    let thread = try qemu.serve(theirs)
    let sender = engine(
      MemorySource(machine, damaged: Set(machine.hostPages)), ours, .precopy())
    let error = #expect(throws: MigrationError.self) { try sender.run() }
    thread.join()
    guard case .endpoint = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    #expect(!qemu.model.hasRun)
  }

  @Test func `blocks that are not sent do not go with an instant restore`() throws {
    let (ours, _) = try ByteChannel.pair()
    let sender = engine(
      MemorySource(ModelMachine(seed: 1), omittedBlocks: [0]), ours, .postcopy())
    let error = #expect(throws: MigrationError.self) { try sender.run() }
    #expect(error?.description.contains("eagerly") ?? false)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a rate limit holds`() throws {
    let machine = ModelMachine(seed: 9)
    let bytes = Int(machine.memory.count) * 1024
    let qemu = ModelQEMU(machine, hasPostcopy: false)
    let (ours, theirs) = try ByteChannel.pair()
    let thread = try qemu.serve(theirs)
    var options = options()
    options.bandwidthLimit = UInt64(bytes * 5)
    let sender = SourceEngine(
      channel: ours, endpoint: MemorySource(machine), plan: .precopy(returnPath: true),
      options: options)
    let report = try sender.run()
    thread.join()
    #expect(report.total >= .milliseconds(150))
  }
}
