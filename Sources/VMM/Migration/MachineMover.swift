// The part of a machine that sends and receives it: what is under way, and what is told of it.
//
//   sending     setup ─▶ active ─▶ completed │ failed │ cancelled
//   receiving   setup ─▶ active ─▶ completed │ failed
//                          └─▶ postcopy-active ⇄ postcopy-paused ─▶ … completed

import GuestMemory
import MigrationEngine
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
    var stopped: ContinuousClock.Instant?
    var sender: SourceEngine?
    var receiver: (any MachineReception)?
    var origin: MigrationChannel.Origin?
    var isCancelled = false
    var settings = MigrationOptions.standard
    var exitsOnError = true
  }

  let parts: MachineParts
  let machineState: MachineState
  let life: MachineLife
  /// What is run as the pager of a machine that arrives.
  let pagerCommand: [String]
  private let state = Mutex(State())

  init(
    _ parts: MachineParts, _ accelerator: any Accelerator, _ life: MachineLife,
    pagerCommand: [String]
  ) {
    self.parts = parts
    self.pagerCommand = pagerCommand
    self.life = life
    machineState = MachineState(of: parts, accelerator)
  }

  func observe(_ observer: @escaping @Sendable (MigrationEvent) -> Void) {
    state.withLock { $0.observers.append(observer) }
  }

  var account: MigrationAccount {
    let (account, progress) = state.withLock { state in
      var account = state.account
      if let began = state.began, account.totalMilliseconds == nil {
        account.totalMilliseconds = (ContinuousClock.now - began).wholeMilliseconds
      }
      return (account, state.sender?.progress)
    }
    guard let progress else { return account }
    var result = account
    result.ram = MigrationAccount.RAM(progress, after: account.totalMilliseconds ?? 0)
    return result
  }

  func apply(_ settings: MigrationOptions) {
    state.withLock { $0.settings = settings }
  }

  func proceed() throws(MachineError) {
    throw .refused("this machine's migrations do not stop before the switchover")
  }

  func startPostcopy() throws(MachineError) {
    throw .refused(
      "this machine stands still while it is sent: it cannot go on at the destination before all "
        + "of its memory is there")
  }

  /// Ends what is under way because the machine ends.
  func end() {
    let (sender, receiver, origin) = state.withLock { state in
      state.isCancelled = true
      return (state.sender, state.receiver, state.origin)
    }
    origin?.cancel()
    sender?.cancel()
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

extension MigrationAccount.RAM {
  /// What an engine counted in so many milliseconds.
  init(_ progress: MigrationProgress, after milliseconds: Int) {
    self.init()
    transferredByteCount = progress.bytesSent
    remainingByteCount = progress.remainingRAMBytes
    totalByteCount = progress.totalRAMBytes
    zeroPageCount = progress.zeroPages
    normalPageCount = progress.normalPages
    dirtySyncCount = 1
    downtimeByteCount = progress.bytesSent
    let seconds = Double(max(1, milliseconds)) / 1000
    pagesPerSecond = UInt64(Double(progress.zeroPages + progress.normalPages) / seconds)
    megabitsPerSecond = Double(progress.bytesSent) * 8 / 1_000_000 / seconds
  }
}

extension Duration {
  /// The whole milliseconds in it.
  var wholeMilliseconds: Int {
    Int(components.seconds * 1000 + components.attoseconds / 1_000_000_000_000_000)
  }
}
