// The rules by which a machine's run state changes: pure, without threads or processors.
//
//                     launch                     stop, ioError
//   prelaunch ───────────────────▶ running ◀──────────────────▶ paused, io-error
//       ▲                          ▲  │  ▲          cont
//       │ reset                    │  │  │ sendingFailed
//   shutdown, internal-error ◀─────┼──┤  │
//                                  │  └──┴──▶ finish-migrate ──▶ postmigrate ──▶ running (cont)
//   inmigrate ─────────────────────┘ incomingDone                    ▲ │
//       ▲                                             incomingFailed │ │ incomingBegins
//       └────────────────────────────────────────────────────────────┴─┘

/// What may happen to a machine.
public enum RunEvent: Sendable, Equatable {
  /// The machine is started for the first time.
  case launch
  /// A person or a program asks for a pause.
  case stop
  /// A person or a program asks to go on.
  case cont
  /// The whole machine is put into its first state.
  case reset
  /// The guest switched itself off.
  case guestShutdown
  /// The guest's kernel gave up.
  case guestPanic
  /// A disk failed, and the machine is to wait for help.
  case ioError
  /// A processor cannot go on.
  case internalError
  /// The last part of the state is about to be sent elsewhere.
  case sendingEnds
  /// The state was sent.
  case sendingDone
  /// The state could not be sent; `wasRunning` tells what to go back to.
  case sendingFailed(wasRunning: Bool)
  /// A machine that was sent elsewhere begins to be received, in what it left behind here.
  case incomingBegins
  /// What it left behind here is about to be written over.
  case incomingOverwrites
  /// What was to come into what was left behind here did not.
  case incomingFailed
  /// A state from elsewhere was loaded; `runs` tells whether its guest runs at once.
  case incomingDone(runs: Bool)
  /// Saving a state in place begins.
  case saveBegins
  /// Loading a state in place begins.
  case restoreBegins
  /// Saving or loading in place is over; `runs` tells whether the guest runs on.
  case snapshotDone(runs: Bool)
}

/// What follows from a change of run state for the processors.
public enum RunAction: Sendable, Equatable {
  /// Nothing changes for them.
  case none
  /// They are to run.
  case run
  /// None may run when the change is done.
  case halt
}

/// A request that a machine's run state does not allow.
public struct RunStateViolation: Error, Equatable, CustomStringConvertible {
  /// The state the machine is in.
  public let state: RunState
  /// What was asked of it.
  public let event: RunEvent

  /// What was asked, of what, and what helps.
  public var description: String {
    let advice =
      switch state {
      case .postMigrate where event == .cont || event == .sendingEnds || event == .saveBegins:
        "a move back into it failed when it had written over part of what was left here, so the "
          + "machine is only where it was then; move it back once more, or reset this one "
          + "(system_reset)"
      case _ where state.needsReset: "reset it first (system_reset)"
      case .finishMigrate, .saveVM, .restoreVM: "wait until that is over, or cancel it"
      case .inMigrate: "send its state to it first"
      case .running: "stop it first"
      default: "it has to be in another state for that"
      }
    return "cannot \(event.words) a machine that is '\(state.rawValue)': \(advice)"
  }
}

extension RunEvent {
  /// The event as the predicate of "cannot … a machine".
  fileprivate var words: String {
    switch self {
    case .launch: "start"
    case .stop: "stop"
    case .cont: "continue"
    case .reset: "reset"
    case .guestShutdown: "switch off"
    case .guestPanic: "report a panic of"
    case .ioError: "report a disk error of"
    case .internalError: "report an internal error of"
    case .sendingEnds, .sendingDone, .sendingFailed: "send the state of"
    case .incomingDone, .incomingBegins, .incomingOverwrites, .incomingFailed:
      "load a state into"
    case .saveBegins: "save the state of"
    case .restoreBegins: "restore the state of"
    case .snapshotDone: "end the snapshot of"
    }
  }
}

/// A machine's run state, changed by events only.
public struct RunStateMachine: Sendable, Equatable {
  /// What the machine is doing.
  public private(set) var state: RunState
  /// Whether a machine that waits for its state, or may come back, runs once it has it.
  public private(set) var startsAfterIncoming: Bool
  /// What was left here of a machine that went elsewhere.
  private var remains = Remains.none

  /// What a machine is that was here before.
  private enum Remains {
    /// There was none.
    case none
    /// As it was when it went.
    case whole
    /// Written over in part: not to run any more.
    case overwritten
  }

  /// Creates the state of a machine that was just built.
  ///
  /// - Parameters:
  ///   - isIncoming: whether it waits for a state from elsewhere.
  ///   - startsAfterIncoming: whether it then runs.
  public init(isIncoming: Bool = false, startsAfterIncoming: Bool = true) {
    state = isIncoming ? .inMigrate : .prelaunch
    self.startsAfterIncoming = startsAfterIncoming
  }

  /// Changes the state as the event asks.
  ///
  /// - Returns: what the processors have to do; by the time the caller has seen to it, the
  ///   change is complete.
  /// - Throws: ``RunStateViolation`` where the state does not allow it; nothing changed then.
  public mutating func on(_ event: RunEvent) throws(RunStateViolation) -> RunAction {
    let before = state
    switch (state, event) {
    case (.postMigrate, .cont), (.postMigrate, .sendingEnds), (.postMigrate, .saveBegins):
      guard remains != .overwritten else { throw RunStateViolation(state: state, event: event) }
      state = try afterTransfer(event)
    case (.inMigrate, .stop), (.inMigrate, .cont), (.postMigrate, .stop):
      startsAfterIncoming = event == .cont
    case (.inMigrate, .reset), (.running, .cont), (.running, .launch), (.running, .reset): break
    case (.prelaunch, .launch): state = .running
    case (.running, .stop): state = .paused
    case (_, .stop): break
    case (.prelaunch, .cont), (.paused, .cont), (.ioError, .cont), (.guestPanicked, .cont):
      state = .running
    case (.finishMigrate, .reset), (.saveVM, .reset), (.restoreVM, .reset):
      throw RunStateViolation(state: state, event: event)
    case (_, .reset):
      state = .prelaunch
      remains = .none
    case (.running, .guestShutdown): state = .shutdown
    case (.running, .guestPanic): state = .guestPanicked
    case (.running, .ioError): state = .ioError
    case (.running, .internalError): state = .internalError
    default: state = try afterTransfer(event)
    }
    if state.isRunning == before.isRunning { return .none }
    return state.isRunning ? .run : .halt
  }

  /// The state after an event of a state that travels; the rest of `on(_:)`'s table.
  private mutating func afterTransfer(_ event: RunEvent) throws(RunStateViolation) -> RunState {
    switch (state, event) {
    case (.postMigrate, .cont): return .running
    case (.running, .sendingEnds), (.paused, .sendingEnds), (.prelaunch, .sendingEnds),
      (.postMigrate, .sendingEnds), (.ioError, .sendingEnds), (.guestPanicked, .sendingEnds),
      (.shutdown, .sendingEnds):
      return .finishMigrate
    case (.finishMigrate, .sendingDone):
      remains = .whole
      startsAfterIncoming = true
      return .postMigrate
    case (.postMigrate, .incomingBegins): return .inMigrate
    case (.inMigrate, .incomingOverwrites):
      if remains == .whole { remains = .overwritten }
      return .inMigrate
    // One that was started to be sent to waits on, and cannot be used again.
    case (.inMigrate, .incomingFailed): return remains == .none ? .inMigrate : .postMigrate
    case (.finishMigrate, .sendingFailed(let wasRunning)): return wasRunning ? .running : .paused
    case (.inMigrate, .incomingDone(let runs)):
      remains = .none
      return runs ? .running : .paused
    case (.saveVM, .snapshotDone(let runs)),
      (.restoreVM, .snapshotDone(let runs)):
      return runs ? .running : .paused
    case (.running, .saveBegins), (.paused, .saveBegins), (.prelaunch, .saveBegins),
      (.postMigrate, .saveBegins), (.ioError, .saveBegins), (.shutdown, .saveBegins):
      return .saveVM
    case (.running, .restoreBegins), (.paused, .restoreBegins), (.prelaunch, .restoreBegins),
      (.postMigrate, .restoreBegins), (.ioError, .restoreBegins), (.shutdown, .restoreBegins),
      (.internalError, .restoreBegins), (.guestPanicked, .restoreBegins):
      return .restoreVM
    default: throw RunStateViolation(state: state, event: event)
    }
  }
}
