// The receiving engine as a postcopy's destination, over real socket pairs, against the sending
// engine: a guest that touches its pages as it likes, links that break anywhere.

import MigrationCore
import MigrationEngine
import Simulation
import Synchronization
import Testing
import Transport
import Wire

@Suite struct `The receiving engine, running the machine` {
  private func source(_ machine: ModelMachine, _ channel: ByteChannel, _ plan: SourcePlan)
    -> SourceEngine
  {
    SourceEngine(
      channel: channel, endpoint: MemorySource(machine), plan: plan, options: smallPages)
  }

  private var smallPages: SourceOptions {
    var options = SourceOptions()
    options.ordinaryPageSize = 1024
    return options
  }

  /// A machine all of whose blocks are made of target pages.
  private func machine(_ seed: UInt64) throws -> ModelMachine {
    try #require(
      (0..<200).lazy.map { ModelMachine(seed: seed &* 1000 &+ $0) }.first { machine in
        machine.blocks.allSatisfy { $0.pageSize == nil }
          && machine.blocks.reduce(0) { $0 + $1.usedLength } > 20 << 10
      })
  }

  @Test(.timeLimit(.minutes(1)), arguments: 0..<20)
  func `a guest has every page it touches, and in the end all of them`(seed: UInt64) throws {
    let machine = try machine(seed)
    let guest = TouchingGuest(machine, touches: machine.hostPages.shuffled())
    let (ours, theirs) = try ByteChannel.pair()
    var options = DestinationOptions.takingPostcopy
    let statuses = Mutex<[MigrationStatus]>([])
    options.statusObserver = { status in statuses.withLock { $0.append(status) } }
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: options)
    let sender = source(machine, ours, .postcopy(hotPageLimit: Int(seed % 3)))
    let thread = try NamedThread(name: "source") { _ = try? sender.run() }
    _ = try engine.run()
    thread.join()
    #expect(statuses.withLock { $0 } == [.setup, .active, .postcopyActive, .completed])
    #expect(guest.value.deviceBytes == machine.deviceState.bytes)
    #expect(guest.value.wrong == [])
    #expect(guest.value.isOrdinary)
    #expect(guest.memory == machine.memory)
    #expect(engine.progress.status == .completed)
    #expect(engine.progress.remainingRAMBytes == 0)
    #expect(sender.progress.status == .completed)
  }

  @Test(.timeLimit(.minutes(1)))
  func `links that break anywhere cost the guest nothing but time`() throws {
    var breaks = 0
    for seed in 0..<20 as Range<UInt64> { breaks += try breakLinks(seed) }
    #expect(breaks >= 10, "links broke while the machine ran")
  }

  /// Moves a machine over links that break, and says how many did while it ran.
  private func breakLinks(_ seed: UInt64) throws -> Int {
    var breaks = 0
    let machine = try machine(seed)
    var random = SeededRandom(seed: seed)
    let guest = TouchingGuest(machine, touches: machine.hostPages.shuffled())
    let total = Int(machine.blocks.reduce(0) { $0 + $1.usedLength })
    // Every other one lives until the machine runs.
    let isLate = seed.isMultiple(of: 2)
    var link = try CutLink(cutAfter: 1 + random.below(total / 4)) {
      !isLate || guest.value.isRunning
    }
    let engine = DestinationEngine(
      channel: link.destination, endpoint: guest, options: .takingPostcopy)
    for attempt in 0..<7 {
      let sender = source(machine, link.source, attempt == 0 ? .postcopy() : .recovery)
      let thread = try NamedThread(name: "source") { _ = try? sender.run() }
      let failure = failure(engine, over: attempt == 0 ? nil : link.destination)
      link.end()
      thread.join()
      guard let failure else {
        break
      }
      guard case .interrupted = failure else {
        // It broke before the source could count on the machine: nothing runs, nor will.
        #expect(attempt == 0 && !guest.value.isRunning && !guest.value.isServing, "seed \(seed)")
        return breaks
      }
      breaks += 1
      #expect(engine.progress.status == .postcopyPaused)
      #expect(failure.isRecoverable)
      link = try CutLink(cutAfter: attempt == 5 ? .max : 50 + random.below(total / 6))
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

  @Test(.timeLimit(.minutes(1)))
  func `a device that cannot be loaded is told to the source, and nothing runs`() throws {
    let machine = try machine(7)
    let guest = TouchingGuest(machine, touches: [], refusesDevices: true)
    let (ours, theirs) = try ByteChannel.pair()
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: .takingPostcopy)
    let sender = source(machine, ours, .postcopy())
    let failure = Mutex<MigrationError?>(nil)
    let thread = try NamedThread(name: "source") {
      do throws(MigrationError) {
        _ = try sender.run()
      } catch {
        failure.withLock { $0 = error }
      }
    }
    let error = #expect(throws: MigrationError.self) { try engine.run() }
    thread.join()
    #expect(error?.description.contains("loading the state of the devices") == true)
    #expect(!guest.value.isRunning)
    #expect(guest.value.isOrdinary)
    #expect(engine.progress.status == .failed)
    #expect(failure.withLock { $0 }?.destinationRunState == .notStarted)
  }

  @Test(.timeLimit(.minutes(1)))
  func `a machine that is given up while its devices load is not being loaded any more`() throws {
    let machine = try machine(9)
    let guest = TouchingGuest(machine, touches: machine.hostPages)
    let (ours, theirs) = try ByteChannel.pair()
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: .takingPostcopy)
    // The devices wait for a page that never comes, until its source ends the link.
    let damaged = Set(machine.hostPages.suffix(1))
    let sender = SourceEngine(
      channel: ours, endpoint: MemorySource(machine, damaged: damaged), plan: .postcopy(),
      options: smallPages)
    let thread = try NamedThread(name: "source") { _ = try? sender.run() }
    #expect(throws: MigrationError.self) { try engine.run() }
    #expect(!guest.value.isLoading)
    thread.join()
    #expect(guest.value.decisions == ["give up"])
    #expect(!guest.value.isRunning)
  }

  @Test(.timeLimit(.minutes(1)))
  func `memory that cannot be made ordinary again leaves the machine running, for another link`()
    throws
  {
    let machine = try machine(11)
    let guest = TouchingGuest(machine, touches: machine.hostPages, refusedEndings: 1)
    var (ours, theirs) = try ByteChannel.pair()
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: .takingPostcopy)
    var sender = source(machine, ours, .postcopy())
    var thread = try NamedThread(name: "source") { [sender] in _ = try? sender.run() }
    let failure = failure(engine, over: nil)
    thread.join()
    guard case .interrupted = failure else {
      Issue.record("\(String(describing: failure))")
      return
    }
    #expect(guest.value.isRunning)
    #expect(engine.progress.status == .postcopyPaused)
    #expect(sender.progress.status == .postcopyPaused)
    (ours, theirs) = try ByteChannel.pair()
    sender = source(machine, ours, .recovery)
    thread = try NamedThread(name: "source") { [sender] in _ = try? sender.run() }
    #expect(self.failure(engine, over: theirs) == nil)
    thread.join()
    #expect(engine.progress.status == .completed)
    #expect(sender.progress.status == .completed)
    #expect(guest.value.isOrdinary)
    #expect(guest.memory == machine.memory)
  }

  @Test(.timeLimit(.minutes(1)))
  func `without leave for postcopy the switch is refused`() throws {
    let machine = try machine(3)
    let guest = TouchingGuest(machine, touches: [])
    let (ours, theirs) = try ByteChannel.pair()
    var options = DestinationOptions.takingPostcopy
    options.takesPostcopy = false
    let engine = DestinationEngine(channel: theirs, endpoint: guest, options: options)
    let sender = source(machine, ours, .postcopy())
    let thread = try NamedThread(name: "source") { _ = try? sender.run() }
    #expect(throws: MigrationError.self) { try engine.run() }
    thread.join()
    #expect(guest.value.deviceBytes == nil)
  }
}
