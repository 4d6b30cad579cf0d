// One move of a running machine in virtual time, our own engines' decisions on both sides: rounds,
// switchover, postcopy from any moment on, cancellations, kills, and links that break anywhere.

import MigrationCore
import Wire

/// A move of a running machine under one seed.
public final class LiveScenario {
  private let model: ModelMachine
  private let clock = VirtualClock()
  private let source: WritingMachine
  private let destination: ArrivingMachine
  private let format: SourceFormat
  private let usesReturnPath: Bool
  private let sabotage: LiveSabotage?
  private let breakCount: Int
  private let preempts: Bool
  private var preempt: FaultyLink?
  private var live: LiveSource
  private var decoder: ReturnPathDecoder
  private var random: SeededRandom
  private var link: FaultyLink?
  private var postcopy: SourceActor?
  private var frozen: [RAMPageAddress: [UInt8]] = [:]
  private var connections = 0
  private var isCancelled = false
  private var isDriving = false
  private var ending: String?

  /// Actions after which a scenario counts as endless.
  private static let actionLimit = 400_000

  /// The scenario of `seed`, with a deliberate fault of ours if one is given.
  public init(seed: UInt64, sabotage: LiveSabotage? = nil) {
    self.sabotage = sabotage
    var random = SeededRandom(seed: seed &* 0x9E37_79B9 &+ 77)
    model = ModelMachine(seed: random.next(), targetPageSize: 4096)
    source = WritingMachine(model, clock: clock, seed: random.next())
    destination = ArrivingMachine(model, clock: clock, seed: random.next())
    usesReturnPath = random.chance(85)
    let mayFollow = usesReturnPath && random.chance(60)
    format = SourceFormat(
      configuration: StreamConfiguration(machine: "godwit-pc-1"), blocks: model.blocks,
      targetPageSize: model.targetPageSize, ramSectionID: model.ramSectionID, deviceState: nil,
      ordinaryPageSize: model.targetPageSize, isPostcopy: mayFollow)
    let settings = LiveSettings(
      downtimeLimit: .microseconds([0, 20, 500, 300_000][random.below(4)]),
      pausesBeforeSwitchover: random.chance(20))
    live = LiveSource(
      settings: settings, usesReturnPath: usesReturnPath, advice: mayFollow ? format.advice : nil)
    decoder = ReturnPathDecoder(pageCounts: format.pageCounts)
    breakCount = random.chance(50) ? 0 : 1 + random.below(3)
    preempts = random.chance(50)
    self.random = random
  }

  private var now: Duration { .nanoseconds(Int64(clock.now)) }

  /// Runs it to its end and says how it ended.
  /// - Throws: `Violation` if anything happened that must not.
  public func run() throws -> String {
    destination.onRun = { [unowned self] in
      if source.isRunning { throw Violation("two machines run: the destination's begins") }
    }
    source.onResume = { [unowned self] in
      if destination.hasRun { throw Violation("two machines run: the source's goes on") }
    }
    connect()
    if random.chance(40) {
      clock.after(someTime()) { [self] in
        _ = live.startPostcopy()
        try drive()
      }
    }
    if random.chance(15) {
      clock.after(someTime()) { [self] in try cancel() }
    }
    if random.chance(8) {
      clock.after(someTime()) { [self] in
        // A machine that runs dies with its process, and nothing is to be learnt from that.
        if !destination.hasRun, live.destinationRunState == .notStarted, postcopy == nil {
          destination.kill()
        }
      }
    }
    if random.chance(12) {
      clock.after(someTime()) { [self] in destination.fail() }
    }
    // Whoever waits for a word gets it, and a guest that never rests gets more time to be still.
    clock.after(40_000_000) { [self] in try goOn() }
    try drive()
    try clock.run(limit: Self.actionLimit)
    guard let ending else { throw Violation("everything stands still before the end") }
    try check()
    return ending
  }

  /// Within the first round, or anywhere: the first reading of the log is 10 ms away.
  private func someTime() -> UInt64 {
    UInt64(random.below(random.chance(30) ? 3_000_000 : 30_000_000))
  }

  private func goOn() throws {
    guard ending == nil else { return }
    _ = live.proceed()
    live.change(LiveSettings(downtimeLimit: .seconds(1)))
    try drive()
    clock.after(20_000_000) { [self] in try goOn() }
  }

  private func cancel() throws {
    guard ending == nil, postcopy == nil, live.canBeGivenUp else { return }
    isCancelled = true
    link?.cut()
  }

  // MARK: The source

  private func drive() throws {
    guard ending == nil, postcopy == nil, !isDriving, !isCancelled, link?.isUp == true else {
      return
    }
    let step = live.next(at: now)
    switch step {
    case .write(let elements):
      var format = format
      if elements.contains(.deviceState) { format.deviceState = model.deviceState }
      var encoder = format.encoder()
      try format.append(elements, to: &encoder)
      link?.send(encoder.buffer, .forward)
      again(after: 1_000)
    case .track:
      source.beginRounds()
      live.tracked(remaining: source.remaining, at: now)
      again(after: 1_000)
    case .send: sendPages()
    case .sync:
      let written = sabotage == .forgetsWrites && random.chance(50) ? 0 : source.sync()
      live.synced(written, remaining: source.remaining, at: now)
      again(after: 1_000)
    case .throttle: again(after: 1)
    case .pause:
      if sabotage != .runsOn { source.stop() }
      frozen = source.memory
      live.paused(at: now)
      if live.phase == .held, random.chance(70) {
        clock.after(UInt64(random.below(2_000_000))) { [self] in
          _ = live.proceed()
          try drive()
        }
      }
      again(after: 2_000)
    case .rest(let end): again(after: UInt64(max(1, (end - now) / .nanoseconds(1))))
    case .wait: break
    case .switchToPostcopy: prepareToSwitch()
    case .finish: try finished()
    }
  }

  private func again(after delay: UInt64) {
    isDriving = true
    clock.after(delay) { [self] in
      isDriving = false
      try drive()
    }
  }

  private func sendPages() {
    let pages = source.nextPages(1 + random.below(24))
    let start = now
    // Reading and writing take a while, in which the guest writes.
    isDriving = true
    clock.after(UInt64(500 + pages.count * 800)) { [self] in
      isDriving = false
      guard ending == nil, !isCancelled, link?.isUp == true else { return }
      var encoder = format.encoder()
      format.beginPart(&encoder)
      for page in pages {
        if let content = source.memory[page] {
          try encoder.appendPageHeader(page)
          encoder.buffer += content
        } else {
          try encoder.appendZeroPage(page)
        }
      }
      format.endSection(&encoder)
      if !pages.isEmpty { link?.send(encoder.buffer, .forward) }
      live.sent(
        UInt64(pages.count * model.targetPageSize), in: now - start, remaining: source.remaining)
      try drive()
    }
  }

  /// Another connection and the bitmaps take a while, in which the destination may fail.
  private func prepareToSwitch() {
    isDriving = true
    clock.after(UInt64(1 + random.below(200_000))) { [self] in
      isDriving = false
      guard ending == nil, !isCancelled, link?.isUp == true else { return }
      guard live.phase == .switchingToPostcopy else { return try drive() }
      try switchOver()
    }
  }

  private func switchOver() throws {
    let missing =
      sabotage == .forgetsDirtyPages
      ? model.blocks.indices.map {
        PageBitmap(pageCount: Int(model.blocks[$0].usedLength) / model.hostPageSize($0))
      } : source.missing(allAgain: live.sendsAllAgain)
    try beginPostcopy(.switched(missing: missing))
  }

  private func beginPostcopy(_ beginning: PostcopySource.Beginning) throws {
    guard let link else { return }
    if preempts { joinPreempt(to: link) }
    let actor = SourceActor(
      model: model, clock: clock, link: link, beginning: beginning, demandOrder: DemandOrder(),
      damaged: [], sabotage: nil, window: 1 << (10 + random.below(8)), seed: random.next(),
      content: { [unowned self] in frozen[$0] },
      decoder: beginning == .recovery ? nil : decoder, preempt: preempt)
    postcopy = actor
    // Weak where what is called keeps the closure, or every seed's move would stay in memory.
    actor.onEnd = { [unowned self, weak actor] in try actor.map(postcopyEnded) }
    link.onBackward = { [weak actor] bytes in try actor?.receive(bytes) }
    try actor.write()
  }

  private func joinPreempt(to link: FaultyLink) {
    destination.expectPreempt()
    preempt = PreemptPair.join(
      link, clock: clock, seed: random.next(),
      faults: PreemptPair.faults(&random, mayBreak: connections <= breakCount)
    ) { [unowned self, weak link] bytes in
      if let link, destination.link === link { try destination.receivePreempt(bytes) }
    }
  }

  private func receive(_ bytes: [UInt8]) throws {
    guard ending == nil, postcopy == nil else { return }
    var messages: [ReturnPathMessage] = []
    try bytes.withUnsafeBytes { try decoder.feed($0.bytes) { messages.append($0) } }
    for message in messages { try live.receive(message) }
    try drive()
  }

  // MARK: Links

  private func connect() {
    connections += 1
    let link = FaultyLink(clock: clock, seed: random.next(), faults: faults())
    self.link = link
    destination.connect(link)
    link.onForward = { [unowned self, weak link] bytes in
      if destination.link === link { try destination.receive(bytes) }
    }
    link.onBackward = { [unowned self, weak link] bytes in
      if self.link === link { try receive(bytes) }
    }
    link.onLoss = { [unowned self, weak link] in if self.link === link { try lost() } }
  }

  private func faults() -> FaultyLink.Faults {
    var faults = FaultyLink.Faults()
    faults.stalls = random.chance(20)
    guard connections <= breakCount else { return faults }
    let total = Int(model.blocks.reduce(0) { $0 + $1.usedLength })
    switch random.below(3) {
    case 0: faults.cutAfterForwardBytes = random.below(3 * total + 600)
    case 1: faults.cutAfterBackwardBytes = random.below(120)
    default: faults.cutAfterTime = someTime()
    }
    return faults
  }

  /// The link is gone: the source goes on where nothing can run elsewhere, and waits otherwise.
  private func lost() throws {
    preempt?.cut()
    preempt = nil
    guard ending == nil else { return }
    link = nil
    destination.lost()
    if let actor = postcopy {
      actor.stop()
      guard actor.machine.destinationRunState == .notStarted else {
        return try afterHandover(actor.machine.destinationRunState)
      }
    } else if live.destinationRunState != .notStarted {
      if live.phase == .finished(.completed) {
        ending = "completed"
      } else {
        // A person looks: where it does not run there, it may go on here.
        if !destination.hasRun { try source.resume() }
        ending = destination.hasRun ? "runs there, the word lost" : "goes on here, once looked at"
      }
      return
    }
    if sabotage != .staysStopped { try source.resume() }
    ending = isCancelled ? "cancelled" : "goes on here"
  }

  private func afterHandover(_ state: DestinationRunState) throws {
    if destination.isComplete {
      ending = "completed, the confirmation lost"
    } else if destination.isDead {
      guard state != .running else { throw Violation("the machine is lost with its link") }
      try source.resume()
      ending = "goes on here, once looked at"
    } else if destination.isInterrupted {
      clock.after(UInt64(random.below(1_000_000))) { [self] in
        connect()
        try beginPostcopy(.recovery)
      }
    } else if destination.isAboutToRun {
      clock.after(100_000) { [self] in try afterHandover(state) }
    } else {
      throw Violation("a destination that neither runs nor waits nor is dead")
    }
  }

  private func postcopyEnded(_ actor: SourceActor) throws {
    guard postcopy === actor else { return }
    if case .finished(.destinationFailed) = actor.machine.phase { return try refused() }
    guard actor.machine.phase == .finished(.completed), destination.isComplete else {
      throw Violation("an end that is none: \(actor.machine.phase)")
    }
    ending = "completed by postcopy" + (connections > 1 ? ", after recovery" : "")
  }

  private func finished() throws {
    switch live.phase {
    case .finished(.completed):
      if usesReturnPath, !destination.isComplete {
        throw Violation("confirmed by a destination that has not got it")
      }
      // Without a return path the link is closed, and the rest of it arrives.
      if usesReturnPath { ending = "completed" } else { link?.cut() }
    case .finished(.destinationFailed): try refused()
    default: throw Violation("an end that is none: \(live.phase)")
    }
  }

  /// The destination said that it failed: the source goes on.
  private func refused() throws {
    guard destination.isDead else { throw Violation("a failure that is none") }
    try source.resume()
    ending = "goes on here, the destination having failed"
  }

  // MARK: At the end

  private func check() throws {
    let (here, there) = (source.isRunning, destination.hasRun)
    if here, there { throw Violation("two machines run at the end: \(ending ?? "")") }
    if !here, !there {
      // Nothing was handed over that could not be used: the copy here is whole, and stopped.
      guard !usesReturnPath else { throw Violation("no machine runs at the end: \(ending ?? "")") }
    }
    guard there else { return }
    for page in model.hostPages where !destination.written.contains(page) {
      for offset in stride(
        from: page.offset, to: page.offset + UInt64(model.hostPageSize(page.blockIndex)),
        by: model.targetPageSize)
      {
        let target = RAMPageAddress(blockIndex: page.blockIndex, offset: offset)
        guard destination.isComplete, destination.memory[target] != frozen[target] else { continue }
        throw Violation("a stale page at the end: block \(page.blockIndex), offset \(offset)")
      }
    }
    guard destination.isAtRest else { throw Violation("the guest waits for a page at the end") }
  }
}

/// A deliberate fault of a running machine's source, to prove that the simulation would notice.
public enum LiveSabotage: String, Sendable, CaseIterable {
  /// What was written is not always asked for.
  case forgetsWrites
  /// What is left at the switch to postcopy is not sent.
  case forgetsDirtyPages
  /// The machine is not stopped for the switchover.
  case runsOn
  /// The machine does not go on where its move failed.
  case staysStopped
}
