// One restore by postcopy in virtual time, with every fault its seed asks for: from the first
// connection over any number of broken links to the end.

import MigrationCore
import Wire

/// What came of a simulated restore.
public struct ScenarioSummary: Sendable {
  /// How it ended.
  public let ending: String
  /// Connections that were made.
  public let connections: Int
  /// Requests for pages.
  public let requests: Int
  /// Events in virtual time.
  public let events: Int
}

/// A restore by postcopy under one seed.
public final class PostcopyScenario {
  private let seed: UInt64
  private let sabotage: Sabotage?
  private let model: ModelMachine
  private let clock = VirtualClock()
  private let destination: QEMUDestinationModel
  private let damaged: Set<RAMPageAddress>
  private let demandOrder: DemandOrder
  private let breakCount: Int
  private let preempts: Bool
  private var random: SeededRandom
  private var connections = 0
  private var requests = 0
  private var source: SourceActor?
  private var link: FaultyLink?
  private var ending: String?
  private var guest: ModelGuest?

  /// Actions after which a scenario counts as endless; the longest need a tenth of it.
  private static let actionLimit = 200_000

  /// The scenario of `seed`, with a deliberate fault of ours if one is given.
  public init(seed: UInt64, sabotage: Sabotage? = nil) {
    self.seed = seed
    self.sabotage = sabotage
    var random = SeededRandom(seed: seed)
    let model = ModelMachine(seed: random.next())
    self.model = model
    let pages = model.hostPages
    func some(_ count: Int) -> [RAMPageAddress] {
      (0..<count).map { _ in pages[random.below(pages.count)] }
    }
    destination = QEMUDestinationModel(
      machine: model, hasPostcopy: true, loadTouches: some(random.below(4)))
    demandOrder = DemandOrder(
      requested: random.chance(50)
        ? some(random.below(12)).map {
          DemandedPage($0, broughtBefore: UInt64(random.below(20)))
        } : [],
      brought: random.chance(50)
        ? some(random.below(12)).map {
          RAMPageRun(start: $0, byteCount: UInt64(random.below(1 << 20)))
        } : [])
    damaged = random.chance(10) ? Set(some(1 + random.below(3))) : []
    breakCount = random.chance(50) ? 0 : 1 + random.below(4)
    preempts = random.chance(50)
    destination.takesPreempt = preempts
    self.random = random
  }

  /// Runs it to its end.
  /// - Throws: `Violation` if anything happened that must not.
  public func run() throws -> ScenarioSummary {
    let guest = ModelGuest(
      destination: destination, clock: clock, pages: model.hostPages, seed: random.next()
    ) { [unowned self] bytes in link?.send(bytes, .backward) }
    self.guest = guest
    destination.onRun = { [unowned guest] in guest.resume() }
    destination.onPlaced = { [unowned guest] in guest.placed(block: $0, page: $1) }
    try connect(.fresh(hotPageLimit: random.chance(50) ? random.below(6) : 0))
    try clock.run(limit: Self.actionLimit)
    guard let ending else { throw Violation("everything stands still before the end") }
    return ScenarioSummary(
      ending: ending, connections: connections, requests: requests, events: clock.actionCount)
  }

  // MARK: Connections

  private func connect(_ beginning: PostcopySource.Beginning) throws {
    connections += 1
    let faults = faults()
    let link = FaultyLink(clock: clock, seed: random.next(), faults: faults)
    let window = 1 << (10 + random.below(8))
    // What is under way when a request leaves, what follows until it arrives (a page may take one
    // more window that long), and the groups that are being read at both times.
    let largest = model.blocks.indices.map { model.hostPageSize($0) }.max() ?? 0
    destination.unaskedLimit =
      faults.stalls ? nil : 2 * (window + 8 * largest) / model.targetPageSize + 16
    let preempt = preempts ? joinPreempt(to: link) : nil
    let source = SourceActor(
      model: model, clock: clock, link: link, beginning: beginning, demandOrder: demandOrder,
      damaged: damaged, sabotage: sabotage, window: window, seed: random.next(), preempt: preempt)
    self.link = link
    self.source = source
    // Weak where what is called keeps the closure, or every seed's move would stay in memory.
    link.onForward = { [unowned self, weak link] bytes in
      guard let link, self.link === link else { return }
      let answer = try destination.receive(bytes)
      if !answer.isEmpty { link.send(answer, .backward) }
    }
    link.onBackward = { [weak source] bytes in try source?.receive(bytes) }
    link.onLoss = { [unowned self, weak source] in
      preempt?.cut()
      try source.map(lost)
    }
    source.onEnd = { [unowned self, weak source] in try source.map(ended) }
    try source.write()
  }

  private func joinPreempt(to link: FaultyLink) -> FaultyLink {
    let faults = PreemptPair.faults(&random, mayBreak: connections <= breakCount)
    // A page that was asked for waits behind nothing but its own channel.
    if faults.stalls { destination.unaskedLimit = nil }
    return PreemptPair.join(link, clock: clock, seed: random.next(), faults: faults) {
      [unowned self, weak link] bytes in
      guard let link, self.link === link else { return }
      let answer = try destination.receivePreempt(bytes)
      if !answer.isEmpty { link.send(answer, .backward) }
    }
  }

  private func faults() -> FaultyLink.Faults {
    var faults = FaultyLink.Faults()
    faults.stalls = random.chance(20)
    guard connections <= breakCount else { return faults }
    let total = Int(model.blocks.reduce(0) { $0 + $1.usedLength }) + 600
    switch random.below(3) {
    case 0: faults.cutAfterForwardBytes = random.below(total)
    // The first 32 bytes are what comes back around the handover.
    case 1: faults.cutAfterBackwardBytes = random.below(random.chance(50) ? 32 : 200)
    default: faults.cutAfterTime = UInt64(random.below(3_000_000))
    }
    return faults
  }

  /// The link broke: who may run is checked, and a new link made where the destination waits.
  private func lost(_ source: SourceActor) throws {
    guard self.source === source else { return }
    self.source = nil
    source.stop()
    requests += source.machine.requestCount
    destination.linkLost()
    let state = source.machine.destinationRunState
    switch (state, destination.hasRun) {
    case (.notStarted, true): throw Violation("two machines may run: the source knows of none")
    case (.running, false): throw Violation("no machine runs, and the source thinks one does")
    default: break
    }
    switch destination.state {
    case .paused:
      clock.after(UInt64(random.below(1_000_000))) { [unowned self] in
        try destination.recover()
        try connect(.recovery)
      }
    case .completed: try conclude("completed, the confirmation lost")
    case .dead: ending = "failed before it ran"
    case .incoming, .listening, .running, .recovering:
      throw Violation("a destination that is \(destination.state) without a link")
    }
  }

  private func ended(_ source: SourceActor) throws {
    guard case .finished(let outcome) = source.machine.phase else {
      throw Violation("an end that is none")
    }
    switch outcome {
    case .completed:
      requests += source.machine.requestCount
      guard destination.state == .completed else {
        throw Violation("completed, with a destination that is \(destination.state)")
      }
      try conclude("completed")
      self.source = nil
    case .leftWaiting(let count):
      requests += source.machine.requestCount
      // The engine ends its side of the link once everything it sent was taken.
      clock.after(1_000_000_000) { [self] in
        guard self.source === source else { return }  // The link broke first.
        try checkDamage(count)
        self.source = nil
        ending = "left waiting for damaged pages"
      }
    case .destinationFailed(let code):
      throw Violation("the destination failed with \(code)")
    }
  }

  // MARK: Checks

  private func conclude(_ ending: String) throws {
    self.ending = ending
    if let wrong = destination.firstWrongPage() {
      throw Violation("wrong content at the end: block \(wrong.blockIndex), offset \(wrong.offset)")
    }
    // The guest goes on from memory that is all there; what it waits for must have come.
    clock.after(100_000_000) { [self] in
      guard destination.waiting.isEmpty, guest?.isDone ?? true else {
        throw Violation("the guest waits for a page at the end")
      }
    }
  }

  private func checkDamage(_ count: Int) throws {
    guard destination.state == .running || destination.state == .listening else {
      throw Violation("a destination that is \(destination.state) with damaged pages")
    }
    for page in model.hostPages {
      let size = model.hostPageSize(page.blockIndex)
      let isThere = destination.memory[page.blockIndex][Int(page.offset) / size] != nil
      guard isThere != damaged.contains(page) else {
        throw Violation(
          "\(damaged.contains(page) ? "a damaged page came" : "a sound page is missing"): "
            + "block \(page.blockIndex), offset \(page.offset)")
      }
    }
    guard count > 0 else { throw Violation("left waiting for nothing") }
  }
}
