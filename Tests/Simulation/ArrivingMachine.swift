// Our own destination in virtual time: the real decoder, state machine and account of pages, driven
// as the engine drives them, and a guest that runs on what has come.

import MigrationCore
import Wire

/// A machine that arrives, before or after its memory.
final class ArrivingMachine {
  /// Whether its processors run here, or may at any moment.
  private(set) var hasRun = false
  /// Whether it will never run.
  private(set) var isDead = false
  private(set) var link: FaultyLink?
  private(set) var requestCount = 0
  /// Target pages that are not all zero, as they came.
  private(set) var memory: [RAMPageAddress: [UInt8]] = [:]
  /// Pages that the guest wrote here, which are its own from then on.
  private(set) var written: Set<RAMPageAddress> = []
  /// Called right before it runs.
  var onRun: () throws -> Void = {}

  fileprivate var machine = DestinationStateMachine(runsMachine: true)
  private let model: ModelMachine
  private let clock: VirtualClock
  private var random: SeededRandom
  private var decoder: StreamDecoder
  /// Reads the channel of requested pages, once there is one.
  private var preemptDecoder: StreamDecoder?
  /// Whether the stream has ended while pages were owed that may come over that.
  fileprivate var isEndHeld = false
  fileprivate var arrivals: PageArrivals?
  private var isCommitted = false
  private var isSealedOnceRunning = false
  private var waiting: Set<RAMPageAddress> = []
  private var touchesLeft: Int

  init(_ model: ModelMachine, clock: VirtualClock, seed: UInt64) {
    self.model = model
    self.clock = clock
    var random = SeededRandom(seed: seed)
    touchesLeft = random.below(60)
    self.random = random
    decoder = StreamDecoder(options: .init(targetPageSize: model.targetPageSize))
  }

  /// Whether it waits for another link.
  var isInterrupted: Bool { machine.phase == .interrupted }
  /// Whether it has everything.
  var isComplete: Bool { machine.phase == .completed }
  /// Whether it has everything but runs only later.
  var isAboutToRun: Bool { isSealedOnceRunning && !hasRun && !isDead }
  /// Whether the guest has done all that it wanted.
  var isAtRest: Bool { waiting.isEmpty }

  func connect(_ link: FaultyLink) {
    self.link = link
    preemptDecoder = nil
    isEndHeld = false
    guard machine.phase == .interrupted, let recovery = decoder.recovery else { return }
    machine.relinked()
    var options = StreamDecoder.Options(targetPageSize: model.targetPageSize)
    options.recovery = recovery
    decoder = StreamDecoder(options: options)
  }

  /// The process is killed; only where that is not the machine's end.
  func kill() {
    isDead = true
    link?.cut()
  }

  /// It fails, and says so where somebody listens; only before it may run.
  func fail() {
    guard !isDead, !hasRun, !isCommitted, !isComplete, machine.phase != .interrupted else { return }
    for case .reply(let message) in machine.fail() { reply(message) }
    isDead = true
    let last = link
    clock.after(100_000) { last?.cut() }
  }

  // MARK: The link

  func receive(_ bytes: [UInt8]) throws {
    guard !isDead, !isComplete, machine.phase != .interrupted else { return }
    var visitor = Visitor(machine: self)
    do {
      try bytes.withUnsafeBytes { try decoder.feed($0.bytes, to: &visitor) }
    } catch let violation as Violation {
      throw violation
    } catch {
      throw Violation("the destination objects to our own source: \(error)")
    }
  }

  /// A second channel is there, for requested pages.
  func expectPreempt() { arrivals?.hasTwoChannels = true }

  /// Whether there is one.
  fileprivate var hasPreempt: Bool { arrivals?.hasTwoChannels ?? false }

  func receivePreempt(_ bytes: [UInt8]) throws {
    guard !isDead, !isComplete, machine.phase != .interrupted else { return }
    guard machine.phase == .running else {
      throw Violation("a requested page while the destination is \(machine.activity)")
    }
    if preemptDecoder == nil {
      var options = StreamDecoder.Options(targetPageSize: model.targetPageSize)
      options.recovery = decoder.recovery
      options.carriesOnlyPages = true
      preemptDecoder = StreamDecoder(options: options)
    }
    var visitor = Visitor(machine: self, channel: .preempt)
    do {
      try bytes.withUnsafeBytes { try preemptDecoder?.feed($0.bytes, to: &visitor) }
    } catch let violation as Violation {
      throw violation
    } catch {
      throw Violation("the destination objects to the channel of requested pages: \(error)")
    }
    guard isEndHeld, arrivals?.owedCount == 0 else { return }
    isEndHeld = false
    for action in try machine.on(.endOfStream) { try perform(action) }
  }

  func lost() {
    isEndHeld = false
    guard !isDead, !isComplete else { return }
    link = nil
    if machine.phase == .sealing || (machine.phase == .running && !isCommitted) {
      // It was not committed to, or has everything already.
      if machine.phase == .running { isDead = true }
      return
    }
    if !machine.linkLost() { isDead = true }
  }

  fileprivate func reply(_ message: ReturnPathMessage) {
    var bytes: [UInt8] = []
    try? message.encode(into: &bytes)
    link?.send(bytes, .backward)
  }

  fileprivate func perform(_ action: DestinationStateMachine.Action) throws {
    switch action {
    case .reply(let message): reply(message)
    case .prepare(_, let blocks):
      arrivals = PageArrivals(
        blocks: blocks, targetPageSize: model.targetPageSize,
        pageSizes: blocks.indices.map(model.hostPageSize))
    case .takeDeviceState(let state):
      guard state.bytes == model.deviceState.bytes else { throw Violation("other devices") }
    case .seal: try seal()
    case .advise, .announceKnownPages: break
    case .discard(let block, let ranges):
      guard let (index, emptied) = try arrivals?.discard(block: block, ranges) else { return }
      for range in emptied {
        for offset in stride(from: range.lowerBound, to: range.upperBound, by: model.targetPageSize)
        {
          memory[RAMPageAddress(blockIndex: index, offset: offset)] = nil
        }
      }
    case .run(let state, let ping): load(state, ping)
    case .replyBitmap(let block):
      guard let bitmap = try arrivals?.bitmap(ofBlock: block) else { return }
      reply(.receivedBitmap(block: block, bitmap: bitmap))
    case .askAgain:
      for message in arrivals?.requestsAgain() ?? [] { reply(message) }
    }
  }

  private func seal() throws {
    let wasSwitched = machine.wasSwitched
    if !wasSwitched {
      // Making it durable takes a while, in which the link may break.
      for message in machine.sealed() { try perform(message) }
      try run()
      return
    }
    // The source hears that it is whole once it runs.
    guard hasRun else {
      isSealedOnceRunning = true
      return
    }
    for message in machine.sealed() { try perform(message) }
  }

  private func load(_ state: DeviceState, _ ping: UInt32?) {
    for _ in 0..<random.below(3) { _ = touch(isWrite: false) }
    clock.after(UInt64(1 + random.below(400_000))) { [self] in
      guard !isDead, machine.phase == .running || isSealedOnceRunning else { return }
      isCommitted = true
      if let ping { reply(.pong(ping)) }
      try run()
      if isSealedOnceRunning { for message in machine.sealed() { try perform(message) } }
    }
  }

  private func run() throws {
    try onRun()
    hasRun = true
    schedule()
  }

  // MARK: The guest

  private func schedule() {
    guard touchesLeft > 0 else { return }
    clock.after(UInt64(100 + random.below(150_000))) { [self] in
      touchesLeft -= 1
      if touch(isWrite: random.chance(40)) { schedule() }
    }
  }

  /// Touches a page; whether it is there.
  private func touch(isWrite: Bool) -> Bool {
    let pages = model.hostPages
    let page = pages[random.below(pages.count)]
    if machine.phase != .completed, let answer = arrivals?.fault(page) {
      switch answer {
      case .present: break
      case .request(let message):
        requestCount += 1
        waiting.insert(page)
        if machine.phase == .running { reply(message) }
        return false
      case .awaited:
        waiting.insert(page)
        return false
      }
    }
    if isWrite { written.insert(page) }
    return true
  }

  fileprivate func put(
    _ page: RAMPageAddress, _ content: [UInt8]?, over channel: PageArrivals.Channel
  ) throws {
    if channel == .main { try machine.onPage(page) }
    let host = UInt64(model.hostPageSize(page.blockIndex))
    let first = RAMPageAddress(blockIndex: page.blockIndex, offset: page.offset / host * host)
    if machine.phase == .running {
      if written.contains(first) { throw Violation("a page that the guest wrote came again") }
      guard let progress = try arrivals?.take(page, over: channel) else { return }
      if progress == .superfluous { throw Violation("a page that came twice") }
      memory[page] = content
      guard case .whole(let whole) = progress else { return }
      _ = arrivals?.arrive(whole)
      if waiting.remove(whole) != nil { schedule() }
    } else {
      memory[page] = content
      arrivals?.place(page)
    }
  }

  private struct Visitor: StreamVisitor {
    let machine: ArrivingMachine
    var channel = PageArrivals.Channel.main

    func visit(_ event: StreamEvent) throws {
      if event == .endOfStream, machine.hasPreempt, machine.arrivals?.owedCount != 0 {
        machine.isEndHeld = true
        return
      }
      if event == .endOfStream, machine.machine.phase == .running {
        guard machine.arrivals?.owedCount == 0 else { throw Violation("an end with pages owed") }
      }
      for action in try machine.machine.on(event) { try machine.perform(action) }
    }

    func visitPage(_ page: RAMPageAddress, content: RawSpan) throws {
      try machine.put(page, content.withUnsafeBytes { Array($0) }, over: channel)
    }

    func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) throws {
      try machine.put(page, nil, over: channel)
    }

    func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) throws {
      throw Violation("a delta from a source that sends none")
    }
  }
}
