// After a move that failed or was cancelled: one machine runs, and the person is told which.

import Foundation
import JSON
import QMP

extension RunningMigrate {
  /// How long the ends may take to come to rest.
  private static let rest = Duration.seconds(10)

  /// Brings both ends to rest, sees that exactly one machine runs, and says where it is.
  /// - Returns: the failure in sentences, and whether a recovery can carry the move on.
  func explain(_ error: any Error) async -> (error: MoveError, isRecoverable: Bool) {
    if let error = error as? NotBegun { return (await explainRefusal(error), false) }
    let wasCancelled = error is CancellationError
    // Who has not answered yet would only keep the person waiting once more.
    if !(error is NoAnswer) { await endMigration() }
    let ends = await atRest()
    let aftermath = MigrateAftermath(
      source: ends.source, destination: ends.destination, ranBefore: plan.runsOnArrival,
      hasStopped: trace.hasStopped && !plan.pausesFirst,
      addresses: (request.source, "\(request.destination)"), isCancelCertain: isCancelCertain)
    let reason = await reason(of: error, ends)
    var sentences = wasCancelled ? ["The move was cancelled."] : [reason]
    do {
      switch aftermath.action {
      case .nothing: break
      case .resumeSource: try await source.execute("cont", timeout: answerLimit)
      case .resumeDestination: try await destination.execute("cont", timeout: answerLimit)
      case .stopDestination: try await destination.execute("stop", timeout: answerLimit)
      case .stopSource: try await source.execute("stop", timeout: answerLimit)
      }
      sentences.append(aftermath.sentence)
    } catch {
      sentences.append(
        "The machine stands still at \(request.source) and could not be resumed: \(error)")
    }
    if aftermath.isRecoverable { await keepMonitor() }
    let code: MoveError.Code = wasCancelled || error is NoAnswer ? .cancelled : .failed
    return (MoveError(code, sentences.joined(separator: " ")), aftermath.isRecoverable)
  }

  /// Whether a source that says `cancelled` can have left no machine that runs at the destination:
  /// one of Godwit's own says it of nothing else, and what Godwit stopped before its copy stands
  /// still at the destination until it is told to run.
  private var isCancelCertain: Bool {
    source.version.isGodwit || (plan.pausesFirst && plan.postcopy == nil)
  }

  /// What follows from a move that its source was not told of, or refused: whatever the source does
  /// or has done since is another's, and is left alone.
  private func explainRefusal(_ error: NotBegun) async -> MoveError {
    let ends = await atRest(countsSource: false)
    let code: MoveError.Code = error.cause is NoAnswer ? .cancelled : .failed
    let aftermath = MigrateAftermath(
      notBegunAt: ends.source, destination: ends.destination, wasStopped: plan.pausesFirst,
      ranBefore: plan.runsOnArrival, addresses: (request.source, "\(request.destination)"))
    var sentences = [await reason(of: error.cause, ends), aftermath.sentence]
    do {
      if aftermath.action == .resumeSource {
        try await source.execute("cont", timeout: answerLimit)
      }
    } catch {
      sentences[1] =
        "The machine stands still at \(request.source) and could not be resumed: \(error)"
    }
    return MoveError(code, sentences.joined(separator: " "))
  }

  /// Leaves a process behind that holds the destination's monitor: a machine that waits for a page
  /// may greet no new client (``MonitorKeeper``).
  ///
  /// It returns once that process can be asked for the monitor, as a recovery may follow at once.
  /// Without a keeper a recovery tries the monitor itself, which mostly works.
  private func keepMonitor() async {
    guard let command = request.keeperCommand, destination.isConnected,
      let path = keeperPath
    else { return }
    try? FileManager.default.removeItem(atPath: path)
    guard let keeper = try? MonitorKeeper(command: command, client: destination, at: path)
    else { return }
    let limit = ContinuousClock.now + Self.rest
    while !FileManager.default.fileExists(atPath: path) {
      guard ContinuousClock.now < limit else { return keeper.dismiss() }
      try? await Task.sleep(for: .milliseconds(5))
    }
    destination.leaveOpen()
  }

  private var keeperPath: String? {
    let process = (destination.isForwarded ? source : destination).peerProcess
    return process.flatMap(ProcessIdentity.init(of:)).map {
      destination.isForwarded
        ? MonitorKeeper.socketPath(forDestinationOf: $0) : MonitorKeeper.socketPath(for: $0)
    }
  }

  /// The same for a destination whose machine waits, or which does not answer.
  func keepMonitorOfWaiting() async {
    let there = await end(destination)
    if there == .silent || there.migration?.isPostcopy == true { await keepMonitor() }
  }

  /// Ends what the source still has under way, unless the machine runs at the destination.
  private func endMigration() async {
    guard let status = await end(source).migration, !status.isTerminal, !status.isPostcopy else {
      return
    }
    _ = try? await source.execute("migrate_cancel", timeout: answerLimit)
  }

  /// Both ends once they have nothing more to do by themselves, or have had time enough.
  ///
  /// A source that does not answer is not waited for, nor is one that does something of another's.
  private func atRest(
    countsSource: Bool = true
  ) async -> (source: MigrateEnd, destination: MigrateEnd) {
    let limit = ContinuousClock.now + Self.rest
    while true {
      let ends = (source: await end(source), destination: await end(destination))
      let isSettled = ends.source == .silent || isAtRest(ends.destination)
      let rests = isSettled && (!countsSource || isAtRest(ends.source))
      if rests || ContinuousClock.now > limit { return ends }
      try? await Task.sleep(for: .milliseconds(20))
    }
  }

  /// Whether an end will change no more: its migration is over, or waits for a person, and its
  /// machine is not on the way from one state to another.
  private func isAtRest(_ end: MigrateEnd) -> Bool {
    guard case .answers(let state, let migration) = end else { return true }
    if migration.isPostcopy { return migration == .postcopyPaused }
    return migration.isTerminal && state.status != "finish-migrate"
  }

  private func end(_ client: QMPClient) async -> MigrateEnd {
    do {
      let info = MigrationInfo(
        try await client.execute("query-migrate", timeout: answerLimit))
      let reply = try await client.execute("query-status", timeout: answerLimit)
      return .answers(
        RunState(
          isRunning: reply["running"]?.bool ?? false, status: reply["status"]?.string ?? ""),
        info.status)
    } catch QMPError.timedOut {
      return .silent
    } catch {
      guard !client.isConnected else { return .silent }
      // What only leads to it may have ended without it.
      guard client.isForwarded else { return .gone }
      return await remote?.showsThatMonitorClosed() == true ? .gone : .silent
    }
  }

  /// Why it failed, in the words of the end that knows better: the destination's where it refused
  /// what it was sent.
  ///
  /// Why a source refused to send, a destination cannot know: it only saw nothing come.
  private func reason(
    of error: any Error, _ ends: (source: MigrateEnd, destination: MigrateEnd)
  ) async -> String {
    if case QMPError.refused = error { return "\(error)" }
    if ends.destination == .silent, let remote, let words = await remote.breakage() {
      return words
    }
    // What the source advises then, a recovery, needs a destination.
    if ends.destination == .gone, let failure = error as? MigrateFailure,
      failure.status == .postcopyPaused
    {
      return "The destination ended before it had all of the machine's memory."
    }
    guard ends.destination.migration == .failed,
      let info = try? await destination.execute("query-migrate", timeout: answerLimit),
      let words = MigrationInfo(info).errorDescription
    else { return "\(error)" }
    return "The destination could not take the machine: \(MigrateFailure.withoutStop(words))."
  }
}
