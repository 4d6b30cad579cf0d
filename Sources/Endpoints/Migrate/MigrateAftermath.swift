// Where the machine is after a move that failed, and what to do so that exactly one of it runs.

import QMP

/// One end of a move after it broke, as far as it can be asked.
enum MigrateEnd: Sendable, Equatable {
  /// Its monitor is closed: it has quit or crashed.
  case gone
  /// It does not answer in time.
  case silent
  /// It answers.
  case answers(RunState, MigrationStatus)

  /// Whether its vCPUs run.
  var isRunning: Bool {
    guard case .answers(let state, _) = self else { return false }
    return state.isRunning
  }

  /// How far its migration is, where it can be asked.
  var migration: MigrationStatus? {
    guard case .answers(_, let status) = self else { return nil }
    return status
  }
}

/// What is to be done after a failure, and what the person must know.
struct MigrateAftermath: Sendable, Equatable {
  /// What makes exactly one machine run.
  enum Action: Sendable, Equatable {
    /// It is so already, or only the person can decide.
    case nothing
    /// The source goes on.
    case resumeSource
    /// Both run: the destination is stopped.
    case stopDestination
    /// Both may run, and the destination cannot be asked: the source is stopped.
    case stopSource
    /// The destination has all of it and stands still, though the machine ran before.
    case resumeDestination
  }

  /// What to do.
  let action: Action
  /// Where the machine is once that is done.
  let sentence: String
  /// Whether the destination runs and waits for memory that the source still has.
  let isRecoverable: Bool

  private init(_ action: Action, _ sentence: String, isRecoverable: Bool = false) {
    self.action = action
    self.sentence = sentence
    self.isRecoverable = isRecoverable
  }

  /// Judges both ends.
  /// - Parameters:
  ///   - source: the end that had the machine.
  ///   - destination: the end that was to get it.
  ///   - ranBefore: whether the machine ran when the move began.
  ///   - hasStopped: whether it was seen to stop at the source for the switchover.
  ///   - addresses: both ends' QMP addresses.
  ///   - isCancelCertain: whether a source that says `cancelled` can have left no machine that runs
  ///     at the destination.
  init(
    source: MigrateEnd, destination: MigrateEnd, ranBefore: Bool, hasStopped: Bool = false,
    addresses: (source: String, destination: String), isCancelCertain: Bool = false
  ) {
    let (from, to) = addresses
    switch source {
    case .gone, .silent:
      self = Self.withoutSource(source, destination, from, to)
    case .answers(_, let migration) where migration.isPostcopy:
      self = Self.inPostcopy(destination, from, to)
    case .answers(let state, .completed) where !state.isRunning:
      self = Self.afterHandover(destination, ranBefore, from, to)
    case .answers(let state, let migration)
    where !migration.isTerminal && !state.isRunning && !destination.isRunning:
      self = Self.undecided(migration, destination, from, to)
    case .answers(let state, let migration):
      // Where the destination says nothing, only a cancellation tells that it cannot run there.
      let isCertain = destination != .silent || migration == .cancelled && isCancelCertain
      if state.isRunning && hasStopped && !isCertain {
        self = Self.inDoubt(from, to)
      } else {
        self = Self.atSource(state, destination, ranBefore, isCertain: isCertain, from, to)
      }
    }
  }

  /// Judges both ends of a move that the source was not told of, or refused.
  /// - Parameters:
  ///   - source: the end that has the machine; a migration that it is in, or has been in since, is
  ///     another's.
  ///   - destination: the end that was to get it.
  ///   - wasStopped: whether the machine was stopped for the move.
  ///   - ranBefore: whether the machine ran when the move began.
  ///   - addresses: both ends' QMP addresses.
  init(
    notBegunAt source: MigrateEnd, destination: MigrateEnd, wasStopped: Bool, ranBefore: Bool,
    addresses: (source: String, destination: String)
  ) {
    let (from, to) = addresses
    let rest = Self.leftOver(destination, to)
    guard case .answers(let state, let migration) = source else {
      self.init(
        .nothing,
        (source == .gone ? "The source at \(from) has ended. " : "Nothing was begun at \(from). ")
          + rest)
      return
    }
    // A stop of ours is undone where it is the last thing that happened to the machine.
    let action: Action = wasStopped && state.status == "paused" ? .resumeSource : .nothing
    let isOthers =
      !migration.isTerminal || ["postmigrate", "finish-migrate"].contains(state.status)
    guard !isOthers else {
      self.init(
        action,
        "Another move of the machine at \(from) is '\(migration.word)', and was left alone. \(rest)"
      )
      return
    }
    let runs = state.isRunning || action == .resumeSource
    self.init(
      action,
      runs
        ? "The machine runs on at \(from). \(rest)"
        : "The machine is at \(from), standing still\(ranBefore ? "" : " as before"). \(rest)")
  }

  /// The source stands still and has not come to an end: it has sent all of the machine, perhaps,
  /// and waits for a word.
  private static func undecided(
    _ migration: MigrationStatus, _ destination: MigrateEnd, _ from: String, _ to: String
  ) -> MigrateAftermath {
    let there =
      switch destination {
      case .silent: "\(to) does not answer and may have the machine"
      case .gone: "\(to) has ended"
      case .answers: "\(to) may still take the machine"
      }
    return MigrateAftermath(
      .nothing,
      "The machine stands still at \(from), whose move has not ended ('\(migration.word)'), and "
        + "\(there). If it has it ('query-status' and 'query-migrate' there tell), end the one at "
        + "\(from). If it has not, or is gone, 'migrate_cancel' at \(from), and 'cont' where that "
        + "leaves it standing, let the machine go on there.")
  }

  private static func inPostcopy(
    _ destination: MigrateEnd, _ from: String, _ to: String
  ) -> MigrateAftermath {
    if destination == .gone || destination.migration == .failed {
      return MigrateAftermath(
        .nothing,
        "The endpoint at \(to), where the machine ran already, has lost it. The one at \(from) "
          + "still holds it as it was at the switchover, but does not let it run: nothing runs "
          + "now.")
    }
    let (there, then) =
      destination == .silent
      ? ("has gone over to \(to), which does not answer,", " as soon as it can be reached")
      : ("runs at \(to)", "")
    return MigrateAftermath(
      .nothing,
      "The machine \(there) and waits there for pages that \(from) still has: end neither, "
        + "and carry on with 'godwit migrate --from \(from) --to \(to) --recover'\(then).",
      isRecoverable: true)
  }

  /// A QEMU whose link breaks when it has sent everything goes on, and cannot know whether the
  /// other one does.
  private static func inDoubt(_ from: String, _ to: String) -> MigrateAftermath {
    MigrateAftermath(
      .stopSource,
      "The link broke in the switchover, and \(to) does not answer and might run the machine: it "
        + "was stopped at \(from). If 'query-status' at \(to) says that it runs, end the one at "
        + "\(from); if it does not, or its process is gone, 'cont' at \(from) lets the machine go "
        + "on there.")
  }

  private static func afterHandover(
    _ destination: MigrateEnd, _ ranBefore: Bool, _ from: String, _ to: String
  ) -> MigrateAftermath {
    switch destination {
    case .answers(let state, _) where state.isRunning:
      MigrateAftermath(
        .nothing, "The machine runs at \(to); the one at \(from) is only what it left behind.")
    case .answers(_, .completed):
      MigrateAftermath(
        ranBefore ? .resumeDestination : .nothing,
        ranBefore
          ? "The machine runs at \(to); the one at \(from) is only what it left behind."
          : "The machine is at \(to), standing still as before.")
    case .answers, .gone:
      MigrateAftermath(
        .nothing,
        "The endpoint at \(to) took the machine over and does not have it any more. The one at "
          + "\(from) holds it as it was at the switchover, standing still: if it runs nowhere "
          + "else, 'cont' lets it go on from there.")
    case .silent:
      MigrateAftermath(
        .nothing,
        "The source has handed the machine over and \(to) does not answer. Nothing was done to "
          + "either: if 'query-status' at \(to) says that it runs, end the one at \(from); if its "
          + "process is gone, 'cont' at \(from) lets the machine go on there.")
    }
  }

  private static func atSource(
    _ state: RunState, _ destination: MigrateEnd, _ ranBefore: Bool, isCertain: Bool,
    _ from: String, _ to: String
  ) -> MigrateAftermath {
    if destination.isRunning {
      guard state.isRunning else {
        return MigrateAftermath(
          .nothing,
          "The machine runs at \(to); the one at \(from) stands still and is only what it left "
            + "behind.")
      }
      return MigrateAftermath(
        .stopDestination,
        "The machine runs on at \(from). The destination had begun to run it, too, and was "
          + "stopped: end the one at \(to).")
    }
    let rest = leftOver(destination, to)
    if state.isRunning {
      return MigrateAftermath(.nothing, "The machine runs on at \(from). \(rest)")
    }
    guard ranBefore else {
      let other = isCertain ? rest : "\(to) does not answer and may have it, too: end it there."
      return MigrateAftermath(
        .nothing, "The machine is at \(from), standing still as before. \(other)")
    }
    // One that does not answer may have begun to run: two of a machine are worse than none.
    if !isCertain {
      return MigrateAftermath(
        .nothing,
        "The machine stands still at \(from), since \(to) does not answer and might run it. If "
          + "its process is gone or 'query-status' there says that it does not run, 'cont' at "
          + "\(from) lets the machine go on.")
    }
    return MigrateAftermath(.resumeSource, "The machine runs on at \(from). \(rest)")
  }

  /// What became of a destination that does not have the machine.
  private static func leftOver(_ destination: MigrateEnd, _ to: String) -> String {
    switch destination {
    case .gone: "The destination has ended; start it anew for another try."
    case .silent:
      "The destination at \(to) does not answer: see that it does not run the machine, too, and "
        + "end it."
    case .answers(let state, .none) where state.status == "inmigrate":
      "The destination at \(to) still waits and can be used again."
    case .answers(let state, _) where state.status == "postmigrate":
      "What was left behind at \(to) can take it another time."
    case .answers: "The destination at \(to) is used up; start it anew for another try."
    }
  }

  private static func withoutSource(
    _ source: MigrateEnd, _ destination: MigrateEnd, _ from: String, _ to: String
  ) -> MigrateAftermath {
    let said = source == .gone ? "The source at \(from) has ended" : "The source does not answer"
    switch destination {
    // What is there went from there before, and has not come back.
    case .answers(let state, .completed) where state.status != "postmigrate":
      let runs = state.isRunning ? "runs" : "stands still"
      return MigrateAftermath(.nothing, "\(said); the machine is whole at \(to) and \(runs) there.")
    case .answers(_, let status) where status.isPostcopy:
      return MigrateAftermath(
        .nothing,
        "\(said) while the machine at \(to) still lacked pages"
          + (source == .gone
            ? ": it stands still as soon as it needs one, and nobody has them any more."
            : "; end neither. If the source comes back, --recover carries on."),
        isRecoverable: source != .gone)
    case .answers, .gone, .silent:
      return MigrateAftermath(
        .nothing,
        source == .gone
          ? "\(said) before \(to) had all of the machine: it runs nowhere."
          : "\(said), and \(to) does not have all of the machine: look after \(from). Once it "
            + "answers, the move may go on; 'migrate_cancel' there ends it.")
    }
  }
}

extension MigrationStatus {
  /// Whether the machine has begun to run at the destination while pages are still missing there.
  var isPostcopy: Bool {
    switch self {
    case .postcopyActive, .postcopyPaused, .postcopyRecover, .postcopyRecoverSetup: true
    default: false
    }
  }
}
