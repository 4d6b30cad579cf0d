// The part of a machine that sends and receives it: what is under way, and what is told of it.
//
//   sending     setup ─▶ active ─▶ [pre-switchover ─▶] device ─▶ completed │ failed │ cancelled
//                          device ─▶ postcopy-active ⇄ postcopy-paused ─▶ … completed
//   receiving   setup ─▶ active ─▶ completed │ failed
//                          └─▶ postcopy-active ⇄ postcopy-paused ─▶ … completed

import GuestMemory
import MigrationCore
import MigrationEngine
import Pager
import QMP
import Synchronization
import Transport

/// Moves a machine: one migration at a time, each on threads of its own.
///
/// Calls return at once; how a migration goes is told by ``account`` and to observers.
final class MachineMover: MachineMigration {
  /// What is under way, or was last.
  struct State {
    var account = MigrationAccount()
    var observers: [@Sendable (MigrationEvent) -> Void] = []
    var began: ContinuousClock.Instant?
    var sender: LiveSourceEngine?
    /// A machine that runs elsewhere and lacks what is here, its link being broken.
    var suspended: MachineSource?
    /// Whether it may not run elsewhere after all: nothing came back before the link broke.
    var isSuspendedInDoubt = false
    /// Carries that on.
    var resumer: SourceEngine?
    var receiver: (any MachineReception)?
    /// Where a source is waited for.
    var origin: MigrationChannel.Origin?
    /// Where its second connection is.
    var preemptOrigin: MigrationChannel.Origin?
    /// Whether a destination has confirmed that it has the machine: this is what it left behind.
    var hasLeft = false
    var isCancelled = false
    /// Whether postcopy was asked for before there was a sender to ask.
    var wantsPostcopy = false
    var settings = MigrationOptions.standard
    var exitsOnError = true
  }

  let parts: MachineParts
  let machineState: MachineState
  let life: MachineLife
  let accelerator: any Accelerator
  let dirtyLog: DirtyLogLease
  /// What is run as the pager of a machine that arrives.
  let pagerCommand: [String]
  /// What is held here already of a machine that arrives.
  let known: KnownHere
  private let state = Mutex(State())
  /// Held by the thread that carries a machine on over a link: one link after the other.
  let recovering = Mutex(())

  init(
    _ parts: MachineParts, _ accelerator: any Accelerator, _ life: MachineLife,
    dirtyLog: DirtyLogLease, pagerCommand: [String], known: KnownHere
  ) {
    self.known = known
    self.parts = parts
    self.pagerCommand = pagerCommand
    self.life = life
    self.accelerator = accelerator
    self.dirtyLog = dirtyLog
    machineState = MachineState(of: parts, accelerator)
  }

  func observe(_ observer: @escaping @Sendable (MigrationEvent) -> Void) {
    state.withLock { $0.observers.append(observer) }
  }

  var account: MigrationAccount {
    let (account, sender, resumer) = state.withLock { state in
      var account = state.account
      if account.isIncoming, let pager = state.receiver as? PagerSession {
        account.add(pager.account, countsBlocktime: state.settings.has("postcopy-blocktime"))
      }
      if let began = state.began, account.totalMilliseconds == nil {
        account.totalMilliseconds = (ContinuousClock.now - began).wholeMilliseconds
      }
      // What went over a link that broke is counted, and another engine goes on from there.
      return (account, state.suspended == nil ? state.sender : nil, state.resumer)
    }
    guard !account.status.isTerminal else { return account }
    var result = account
    if let sender { result.take(sender.account, after: account.totalMilliseconds ?? 0) }
    if let resumer { result.add(resumer.progress) }
    return result
  }

  /// Ends what is under way because the machine ends.
  func end() {
    let (sender, resumer, receiver, origins) = state.withLock { state in
      state.isCancelled = true
      return (
        state.sender, state.resumer, state.receiver, [state.origin, state.preemptOrigin]
      )
    }
    for origin in origins { origin?.close() }
    sender?.abandon()
    resumer?.cancel()
    receiver?.end()
  }

  /// Reads or changes what is under way.
  func update<Result: Sendable>(_ body: (inout State) -> Result) -> Result {
    state.withLock { body(&$0) }
  }

  /// Goes over to a state and tells everyone.
  ///
  /// - Parameters:
  ///   - status: the new state.
  ///   - change: what else changes with it.
  func enter(_ status: QMP.MigrationStatus, _ change: (inout State) -> Void = { _ in }) {
    _ = enter(status, if: { _ in true }, change)
  }

  /// Goes over to a state and tells everyone, where that is allowed.
  ///
  /// - Parameters:
  ///   - status: the new state.
  ///   - isAllowed: looked at under the lock; nothing happens where it says no.
  ///   - change: what else changes with it.
  /// - Returns: whether it was allowed.
  func enter(
    _ status: QMP.MigrationStatus, if isAllowed: (State) -> Bool,
    _ change: (inout State) -> Void
  ) -> Bool {
    let observers = state.withLock { state -> [@Sendable (MigrationEvent) -> Void]? in
      guard isAllowed(state) else { return nil }
      change(&state)
      state.account.status = status
      if status.isTerminal, let began = state.began {
        state.account.totalMilliseconds = (ContinuousClock.now - began).wholeMilliseconds
      }
      return state.observers
    }
    for observer in observers ?? [] { observer(.status(status)) }
    return observers != nil
  }

  /// Tells everyone that memory is gone through.
  func tellPass(_ number: Int) {
    let observers = state.withLock { $0.observers }
    for observer in observers { observer(.pass(number)) }
  }

  /// Starts a thread for a migration; what cannot be started is told as a failure.
  func start(_ name: String, _ body: @escaping @Sendable () -> Void) throws(MachineError) {
    do throws(TransportError) {
      _ = try NamedThread(name: name, body)
    } catch {
      enter(.failed) { $0.account.failure = "\(error)" }
      throw .kernel(action: "cannot start a thread for the migration", reason: "\(error)")
    }
  }
}

extension MigrationAccount {
  /// Takes over what the sending engine counted in so many milliseconds.
  mutating func take(_ live: LiveAccount, after milliseconds: Int) {
    downtimeMilliseconds = live.downtime.map(\.wholeMilliseconds)
    expectedDowntimeMilliseconds =
      live.downtime == nil ? live.expectedDowntime.map(\.wholeMilliseconds) : nil
    setupMilliseconds = live.setup.map(\.wholeMilliseconds)
    throttlePercent = if case .rest(percent: let percent)? = live.throttle { percent } else { nil }
    ram = RAM(live, after: milliseconds)
    if known != nil { known = Known(live.progress) }
  }

  /// Adds what an engine counted that carries a postcopy on.
  mutating func add(_ recovery: MigrationProgress) {
    var sum = ram ?? RAM()
    sum.transferredByteCount += recovery.bytesSent
    sum.postcopyByteCount += recovery.bytesSent
    sum.zeroPageCount += recovery.zeroPages
    sum.normalPageCount += recovery.normalPages
    sum.postcopyRequestCount += recovery.pageRequests
    switch recovery.status {
    case .postcopyActive, .completed: sum.remainingByteCount = recovery.remainingRAMBytes
    // Until the destination has said what it has, nobody knows better than before.
    default: sum.remainingByteCount = min(sum.remainingByteCount, recovery.remainingRAMBytes)
    }
    sum.setRates(over: totalMilliseconds ?? 0)
    ram = sum
    guard var held = known else { return }
    // What a destination announces anew is what it announced before.
    held.announcedPageCount = max(held.announcedPageCount, recovery.announcedPages)
    held.hashedPageCount += recovery.hashedPages
    held.missedPageCount += recovery.missedPages
    held.savedByteCount += recovery.savedBytes
    known = held
  }

  /// Takes over how long the machine has waited for pages.
  mutating func add(_ waiting: PagerAccount, countsBlocktime: Bool) {
    guard waiting.latency.count > 0 else { return }
    pageLatency = waiting.latency
    guard countsBlocktime else { return }
    blocktimeMilliseconds = waiting.blocktime.wholeMilliseconds
    processorBlocktimeMilliseconds = waiting.blocktimeByProcessor.map(\.wholeMilliseconds)
  }
}

extension MigrationAccount.Known {
  /// What the sending engine counted.
  init(_ progress: MigrationProgress) {
    self.init()
    announcedPageCount = progress.announcedPages
    hashedPageCount = progress.hashedPages
    missedPageCount = progress.missedPages
    savedByteCount = progress.savedBytes
  }
}

extension MigrationAccount.RAM {
  /// What the sending engine counted in so many milliseconds.
  init(_ live: LiveAccount, after milliseconds: Int) {
    self.init()
    let progress = live.progress
    transferredByteCount = progress.bytesSent
    remainingByteCount = progress.remainingRAMBytes
    totalByteCount = progress.totalRAMBytes
    zeroPageCount = progress.zeroPages
    normalPageCount = progress.normalPages
    excludedPageCount = progress.excludedPages
    dirtySyncCount = live.syncCount
    dirtyPagesPerSecond = UInt64(live.dirtyBytesPerSecond ?? 0) / 4096
    postcopyRequestCount = progress.pageRequests
    precopyByteCount = live.phaseBytes.precopy
    downtimeByteCount = live.phaseBytes.downtime
    postcopyByteCount = live.phaseBytes.postcopy
    setRates(over: milliseconds)
  }

  /// What was sent, by so many milliseconds.
  fileprivate mutating func setRates(over milliseconds: Int) {
    let seconds = Double(max(1, milliseconds)) / 1000
    pagesPerSecond = UInt64(Double(zeroPageCount + normalPageCount) / seconds)
    megabitsPerSecond = Double(transferredByteCount) * 8 / 1_000_000 / seconds
  }
}

extension Duration {
  /// The whole milliseconds in it.
  var wholeMilliseconds: Int {
    Int(components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000)
  }
}
