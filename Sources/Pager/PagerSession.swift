// The machine's end of being received by a pager: what the pager asks is done, and a pager that
// dies is replaced by one that carries on from what memory holds.
//
//   a pager dies while                       the machine
//   nobody was told that the machine runs    never will; who waits is freed
//   the source was, or may have been, told   runs, gets another pager, and waits for a new link
//   memory is whole                          is received

public import MigrationCore
internal import MigrationEngine
internal import Synchronization
public import Transport
public import Userfault
internal import Wire

/// A block of the machine's memory that a pager is given.
public final class SharedBlock: Sendable {
  let notice: MemoryNotice
  let descriptor: OwnedDescriptor

  /// A block.
  ///
  /// - Parameters:
  ///   - name: its name in streams.
  ///   - byteCount: its size, a multiple of its pages.
  ///   - pageSize: the size of the pages that back it, in bytes.
  ///   - hostAddress: where it begins in this process.
  ///   - descriptor: of its memory, which begins at offset 0.
  public init(
    name: String, byteCount: Int, pageSize: Int, hostAddress: UInt,
    descriptor: consuming OwnedDescriptor
  ) {
    notice = MemoryNotice(
      name: name, byteCount: UInt64(byteCount), pageSize: UInt64(pageSize),
      hostAddress: UInt64(hostAddress))
    self.descriptor = descriptor
  }
}

/// Waits for the second connection of a source; throws once that is not to be waited for any more.
public typealias PreemptWait = @Sendable () throws(TransportError) -> ByteChannel

/// A machine that is received by a pager.
///
/// ``receive(over:preempt:)`` and ``resume(over:preempt:)`` block, one at a time; everything else
/// may be called from any thread and returns at once.
public final class PagerSession: Sendable {
  private struct State {
    var process: PagerProcess?
    var recovery: StreamDecoder.Recovery?
    var order: [UInt32] = []
    var isServing = false
    var isRunCalled = false
    /// Whether all of memory is there and the machine runs.
    var isWhole = false
    var isEnded = false
    var status = MigrationStatus.none
    /// Links that somebody follows, by their numbers, with how they ended.
    var links: [UInt32: PagerOutcome?] = [:]
    var lastLink: UInt32 = 0
    /// Pagers that ended soon after their beginning, one after the other.
    var shortLives = 0
  }

  private let command: [String]
  private let blocks: [SharedBlock]
  private let userfault: Userfault
  private let threads: [Int32]
  private let record: ArrivalRecord
  private let host: any PagerHost
  private let observer: @Sendable (MigrationStatus) -> Void
  private let state = Mutex(State())
  private let signal = Signal()
  /// Held while a pager is started, so that there is never a second one.
  private let starting = Mutex(())

  /// So many pagers that end at once are replaced by themselves; the next waits for a recovery.
  private static let shortLifeLimit = 5
  private static let shortLife = Duration.seconds(1)

  /// Starts a pager for a machine that waits.
  ///
  /// - Parameters:
  ///   - command: what to run; it must call ``PagerServer/serve(_:)``.
  ///   - blocks: all memory that travels.
  ///   - userfault: this process's, without a registration.
  ///   - threads: the kernel's numbers of the processors' threads, in the processors' order.
  ///   - host: the machine; the session keeps it.
  ///   - observer: called with every later status, by a thread of the session.
  public init(
    command: [String], blocks: [SharedBlock], userfault: Userfault, threads: [Int32],
    host: any PagerHost, observer: @escaping @Sendable (MigrationStatus) -> Void
  ) throws(PagerError) {
    self.command = command
    self.blocks = blocks
    self.userfault = userfault
    self.threads = threads
    self.host = host
    self.observer = observer
    record = try ArrivalRecord(blockByteCounts: blocks.map { Int($0.notice.byteCount) })
    try startIfNone()
  }

  /// The number of the pager's process; nil while there is none.
  public var processIdentifier: Int32? { state.withLock { $0.process?.number } }

  /// How long the machine has waited for pages.
  public var account: PagerAccount { record.account(processorCount: threads.count) }

  // MARK: What the machine wants

  /// Receives the machine; returns once it is whole and the source was told.
  ///
  /// Throws ``PagerError/interrupted(_:)`` where the machine runs and waits for
  /// ``resume(over:preempt:)``.
  ///
  /// - Parameters:
  ///   - channel: the connection to the source.
  ///   - preempt: waits for the connection that requested pages come over, where there is to be
  ///     one; called on a thread of the session's own, which ends when this returns or throws.
  public func receive(
    over channel: ByteChannel, preempt: PreemptWait? = nil
  ) throws(PagerError) {
    try follow(channel, preempt)
  }

  /// Goes on over a new link where one broke, or a pager died, while the machine ran.
  ///
  /// - Parameters:
  ///   - channel: the new connection.
  ///   - preempt: as for ``receive(over:preempt:)``.
  public func resume(
    over channel: ByteChannel, preempt: PreemptWait? = nil
  ) throws(PagerError) {
    try startIfNone()
    try follow(channel, preempt)
  }

  /// Ends the connection to the source, as if that had.
  public func breakLink() { tell(.breakLink) }

  /// Gives up, unless the machine runs.
  public func cancel() { tell(.cancel) }

  /// Ends the pager because the machine ends, or is whole.
  public func end() {
    let (process, wasServing, links) = state.withLock { state in
      state.isEnded = true
      defer {
        state.isServing = false
        state.process = nil
      }
      return (state.process, state.isServing, Array(state.links.keys))
    }
    process?.end()
    if wasServing { host.endServing(userfault) }
    deliver(.failed(PagerError.lost.description), to: links)
  }

  private func tell(_ message: PagerMessage) {
    let process = state.withLock { $0.process }
    // One that is gone has nothing to be told.
    try? process?.control.send(message)
  }

  /// Hands a link over and waits for how it ends.
  private func follow(
    _ channel: ByteChannel, _ preempt: PreemptWait?
  ) throws(PagerError) {
    let (process, number) = state.withLock { state in
      state.lastLink += 1
      if state.process != nil { state.links[state.lastLink] = .some(nil) }
      return (state.process, state.lastLink)
    }
    guard let process else {
      throw state.withLock { $0.isRunCalled } ? .interrupted(Self.death) : .lost
    }
    do throws(TransportError) {
      try Self.hand(channel, number, to: process)
      if let preempt { try Self.handSecond(preempt, number, to: process) }
    } catch {
      // Its end says what this means.
      process.control.close()
    }
    switch outcome(of: number) {
    case .completed: end()
    case .interrupted(let sentence): throw .interrupted(sentence)
    case .failed(let sentence):
      end()
      throw .failed(sentence)
    }
  }

  /// Waits for how a link ends.
  private func outcome(of number: UInt32) -> PagerOutcome {
    while true {
      let seen = signal.changeCount
      let outcome = state.withLock { state -> PagerOutcome? in
        guard case .some(.some(let outcome)) = state.links[number] else { return nil }
        state.links[number] = nil
        return outcome
      }
      if let outcome { return outcome }
      signal.wait(after: seen, timeout: .seconds(60))
    }
  }

  private static func hand(
    _ channel: ByteChannel, _ number: UInt32, to process: PagerProcess
  ) throws(TransportError) {
    let input = try channel.duplicateInput()
    guard let output = try channel.duplicateOutput() else {
      return try process.control.send(
        .link(number: number, peer: channel.peer, isReadOnly: false), passing: input.raw)
    }
    try process.control.send(
      .link(number: number, peer: channel.peer, isReadOnly: true), passing: input.raw)
    try process.control.send(.linkOutput, passing: output.raw)
  }

  /// Hands over the second connection of a link once it is there, whenever that is.
  private static func handSecond(
    _ wait: @escaping PreemptWait, _ number: UInt32, to process: PagerProcess
  ) throws(TransportError) {
    _ = try NamedThread(name: "preempt-wait") {
      // Where none comes, the pager says so; one that is gone has nothing to be told.
      guard let channel = try? wait(), let descriptor = try? channel.duplicateInput() else {
        return
      }
      try? process.control.send(
        .preempt(link: number, peer: channel.peer), passing: descriptor.raw)
    }
  }

  // MARK: Pagers

  /// Starts a pager where there is none.
  private func startIfNone() throws(PagerError) {
    let result = starting.withLock { _ -> Result<Void, PagerError> in
      Result { () throws(PagerError) in
        if state.withLock({ $0.process == nil && !$0.isEnded }) { try start() }
      }
    }
    try result.get()
  }

  /// Starts a pager and hands it everything; one that replaces another learns where that stood.
  private func start() throws(PagerError) {
    let process = try PagerProcess(command)
    let carriedOn = state.withLock { state in
      state.isRunCalled ? state.recovery.map { ($0, state.order) } : nil
    }
    do throws(TransportError) {
      try process.control.send(.hello(version: PagerMessage.version))
      for block in blocks {
        try process.control.send(.memory(block.notice), passing: block.descriptor.raw)
      }
      try process.control.send(.record, passing: record.rawDescriptor)
      try process.control.send(.faults(threads: threads), passing: userfault.rawDescriptor)
      if let (recovery, order) = carriedOn {
        try process.control.send(.resume(recovery, order: order))
      }
      _ = try NamedThread(name: "pager-control") { [self] in
        // Once it is known, so that whoever comes to follow it hears of its end.
        starting.withLock { _ in }
        listen(to: process)
      }
      state.withLock { $0.process = process }
    } catch {
      process.end()
      throw .notStarted(command: command.joined(separator: " "), reason: "\(error)")
    }
    // The machine may have ended meanwhile, when there was no pager to end.
    if state.withLock({ $0.isEnded }) { process.end() }
  }

  /// Does what a pager asks, until it ends.
  private func listen(to process: PagerProcess) {
    var trouble = PagerError.lost
    do {
      guard let (first, _) = try process.control.receive() else { return bury(process, trouble) }
      guard first == .hello(version: PagerMessage.version) else {
        throw PagerError.protocolViolation(
          "the pager begins with \(first), and this machine speaks version "
            + "\(PagerMessage.version)")
      }
      while let (message, descriptor) = try process.control.receive() {
        _ = descriptor.map { OwnedDescriptor(adopting: $0) }
        switch message {
        case .call(let number, let call): try take(call, number, process)
        case .status(let status): note(status)
        case .outcome(let link, let outcome): deliver(outcome, to: [link])
        case .hello, .memory, .record, .faults, .resume, .link, .linkOutput, .preempt, .breakLink,
          .cancel, .answer:
          throw PagerError.protocolViolation("the pager says \(message)")
        }
      }
    } catch let error as PagerError {
      trouble = error
    } catch {
      // A link that breaks says what its end says.
    }
    bury(process, trouble)
  }

  private func take(_ call: PagerCall, _ number: UInt32, _ process: PagerProcess) throws {
    switch call {
    case .load, .run:
      // They may wait for pages, and meanwhile the pager may say that there will be none.
      _ = try NamedThread(name: "godwit-load") { [self] in
        try? process.control.send(.answer(call: number, answer(to: call)))
      }
    case .prepare, .takeDeviceState, .complete, .beginServing, .endServing:
      try process.control.send(.answer(call: number, answer(to: call)))
    }
  }

  private func answer(to call: PagerCall) -> PagerAnswer {
    do {
      switch call {
      case .prepare(let configuration, let blocks):
        let order = try host.prepare(configuration: configuration, blocks: blocks)
        let numbers = order.map { UInt32($0) }
        state.withLock { $0.order = numbers }
        return .done(numbers)
      case .takeDeviceState(let state): try host.takeDeviceState(state)
      case .complete: try host.complete()
      case .beginServing(let recovery):
        state.withLock { state in
          state.recovery = recovery
          state.isServing = true
        }
        try host.beginServing(userfault)
      case .load(let state): try host.load(state)
      case .run:
        let isFirst = state.withLock { state in
          defer { state.isRunCalled = true }
          return !state.isRunCalled
        }
        if isFirst { try host.run() }
      case .endServing: endServing()
      }
      return .done([])
    } catch {
      return .refused("\(error)")
    }
  }

  private func endServing() {
    let wasServing = state.withLock { state in
      defer { state.isServing = false }
      state.isWhole = state.isServing && state.isRunCalled
      return state.isServing
    }
    if wasServing { host.endServing(userfault) }
  }

  /// Passes a status on, where it is news.
  private func note(_ status: MigrationStatus) {
    let isNews = state.withLock { state in
      defer { state.status = status }
      return state.status != status && !state.isEnded
    }
    if isNews { observer(status) }
  }

  private func deliver(_ outcome: PagerOutcome, to links: [UInt32]) {
    state.withLock { state in
      for link in links {
        if case .some(.none) = state.links[link] { state.links[link] = .some(outcome) }
      }
    }
    signal.announce()
  }

  // MARK: A pager's death

  /// Decides what becomes of the machine whose pager is gone.
  private func bury(_ process: PagerProcess, _ trouble: PagerError) {
    process.end()
    let (links, isWhole) = state.withLock { state -> ([UInt32]?, Bool) in
      guard state.process === process, !state.isEnded else { return (nil, false) }
      state.process = nil
      let isShort = ContinuousClock.now - process.began < Self.shortLife
      state.shortLives = isShort ? state.shortLives + 1 : 0
      return (Array(state.links.keys), state.isWhole)
    }
    guard let links else { return }
    // The process is reaped: nobody else decides any more.
    if isWhole {
      deliver(.completed, to: links)
    } else if record.decision == .runs {
      replace(links)
    } else {
      record.decision = .neverRuns
      endServing()
      deliver(.failed(trouble.description), to: links)
    }
  }

  /// What the death of a running machine's pager means.
  private static let death =
    "The pager ended while it received the memory of the running machine. The machine goes on "
    + "with what it has and waits for the rest: connect a source again (migrate-recover)."

  /// Has a machine run on, or begin to, with another pager; the former one's links are gone.
  private func replace(_ links: [UInt32]) {
    var sentence = Self.death
    if case .refused(let reason) = answer(to: .run) { sentence = reason }
    let status = state.withLock { $0.status }
    if ![.postcopyActive, .postcopyPaused, .postcopyRecover].contains(status) {
      note(.postcopyActive)
    }
    if state.withLock({ $0.shortLives < Self.shortLifeLimit && !$0.isEnded }) {
      // One that cannot be started now is started by the next recovery, which then says why not.
      try? startIfNone()
    }
    deliver(.interrupted(sentence), to: links)
    note(.postcopyPaused)
  }
}
