// A machine's life: its run state, the processors that follow it, and those who are told.

import Synchronization
import Transport

/// A machine's run state with what has to happen when it changes.
///
/// Every change is carried out under one lock, by the thread that asks for it; a processor's own
/// thread posts a ``GuestRequest`` instead, which a thread of the machine takes.
final class MachineLife: Sendable {
  private struct State {
    var run: RunStateMachine
    var observers: [(Int, @Sendable (MachineEvent) -> Void)] = []
    var nextObserver = 0
    var trouble: String?
  }

  private let state: Mutex<State>
  /// The run state as it was last complete, for those who must not wait for a change under way.
  private let seen: Mutex<RunState>
  private let accelerator: any Accelerator
  /// The devices with threads of their own, quiet while the machine is stopped.
  private let quiesce: @Sendable (Bool) -> Void
  private let requests: GuestRequests
  private struct End {
    var value: MachineEnd?
    var waiting: [@Sendable (MachineEnd) -> Void] = []
  }

  private let end = Monitor(End())

  /// - Parameters:
  ///   - run: the run state to begin with.
  ///   - accelerator: what runs the processors, paused.
  ///   - requests: what the guest asks for, closed when the machine ends.
  ///   - quiesce: called with true when no processor runs any longer, with false before they run
  ///     again.
  init(
    _ run: RunStateMachine, accelerator: any Accelerator, requests: GuestRequests,
    quiesce: @escaping @Sendable (Bool) -> Void
  ) {
    state = Mutex(State(run: run))
    seen = Mutex(run.state)
    self.accelerator = accelerator
    self.requests = requests
    self.quiesce = quiesce
  }

  /// What the machine is doing, once a change that is under way is complete.
  var runState: RunState { state.withLock(\.run.state) }

  /// What the machine is doing, at once: while its processors are being stopped, it runs.
  ///
  /// A processor that waits for a page of a broken postcopy may take for ever to stop.
  var seenRunState: RunState { seen.withLock { $0 } }

  /// Whether a machine that waits for its state runs once it has it.
  var startsAfterIncoming: Bool { state.withLock(\.run.startsAfterIncoming) }

  /// Carries an event out; `during` runs while the processors stand still, if they do.
  func apply(
    _ event: RunEvent, during work: () throws(MachineError) -> Void = {}
  ) throws(MachineError) {
    let result = state.withLock { state -> Result<Void, MachineError> in
      defer { show(state) }
      do throws(RunStateViolation) {
        let action = try state.run.on(event)
        return perform(action, on: &state, during: work)
      } catch {
        return .failure(.runState(error))
      }
    }
    try result.get()
  }

  private func perform(
    _ action: RunAction, on state: inout State, during work: () throws(MachineError) -> Void
  ) -> Result<Void, MachineError> {
    if action == .halt { halt(&state) }
    let result = Result { () throws(MachineError) in try work() }
    if action == .run {
      quiesce(false)
      // QEMU tells of it before the first instruction.
      tell(.resumed, &state)
      accelerator.resume()
    }
    return result
  }

  private func halt(_ state: inout State) {
    accelerator.pause()
    quiesce(true)
    tell(.stopped, &state)
  }

  /// Does something while no processor runs, whatever the run state, and goes on as before.
  func whileStopped<Result: Sendable>(
    _ work: () throws(MachineError) -> Result
  ) throws(MachineError) -> Result {
    let result = state.withLock { state -> Swift.Result<Result, MachineError> in
      let isRunning = state.run.state.isRunning
      if isRunning {
        accelerator.pause()
        quiesce(true)
      }
      let result = Swift.Result { () throws(MachineError) in try work() }
      if isRunning {
        quiesce(false)
        accelerator.resume()
      }
      return result
    }
    return try result.get()
  }

  /// Lets everyone see a change that is complete.
  private func show(_ state: State) {
    let run = state.run.state
    seen.withLock { $0 = run }
  }

  // Telling

  /// Calls `observer` with everything that happens from now on, in order, on the thread that
  /// makes it happen; it must neither block nor call the machine.
  ///
  /// - Returns: what ``removeObserver(_:)`` takes.
  func observe(_ observer: @escaping @Sendable (MachineEvent) -> Void) -> Int {
    state.withLock { state in
      state.nextObserver += 1
      state.observers.append((state.nextObserver, observer))
      return state.nextObserver
    }
  }

  /// Ends an observation.
  func removeObserver(_ number: Int) {
    state.withLock { $0.observers.removeAll { $0.0 == number } }
  }

  /// Tells all observers.
  func tell(_ event: MachineEvent) {
    state.withLock { tell(event, &$0) }
  }

  private func tell(_ event: MachineEvent, _ state: inout State) {
    // Whoever hears of it and asks gets the state that belongs to it.
    show(state)
    for (_, observer) in state.observers { observer(event) }
  }

  /// What went wrong last, as a sentence; nil where nothing did.
  var trouble: String? { state.withLock(\.trouble) }

  /// Keeps what went wrong for those who ask.
  func note(_ sentence: String) {
    state.withLock { $0.trouble = sentence }
  }

  // Requests of the guest

  /// Waits for the next request of the guest; nil once the machine has ended.
  func nextRequest() -> GuestRequest? { requests.next() }

  /// Drops the requests that nobody has taken yet.
  func dropRequests() { requests.drop() }

  // The end

  /// Ends the machine once; later calls do nothing.
  func finish(_ reason: MachineEvent.ShutdownReason, byGuest: Bool) {
    guard requests.close() else { return }
    state.withLock { state in
      if state.run.state.isRunning, (try? state.run.on(.stop)) == .halt { halt(&state) }
      tell(.shutdown(byGuest: byGuest, reason: reason), &state)
      accelerator.end()
    }
    let value = MachineEnd(reason: reason, isByGuest: byGuest)
    let waiting = end.update { end in
      end.value = value
      defer { end.waiting = [] }
      return end.waiting
    }
    for body in waiting { body(value) }
  }

  /// Waits until the machine has ended.
  func waitUntilEnd() -> MachineEnd {
    end.wait { $0.value }
  }

  /// Calls `body` once the machine has ended, on the thread that ends it; at once if it has.
  func whenEnded(_ body: @escaping @Sendable (MachineEnd) -> Void) {
    let value = end.update { end in
      if end.value == nil { end.waiting.append(body) }
      return end.value
    }
    if let value { body(value) }
  }
}
