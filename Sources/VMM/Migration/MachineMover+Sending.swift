// Sending a machine: it is stopped, sent whole, and stays stopped; or it goes on where that failed.

import MigrationCore
import MigrationEngine
import QMP
import Transport
import VMState

extension MachineMover {
  func send(
    to peer: MigrationPeer, _ settings: MigrationOptions, resumes: Bool
  ) throws(MachineError) {
    guard !resumes else {
      throw .refused("nothing can be resumed: this machine never runs before all of it was sent")
    }
    let begins = enter(.setup, if: { $0.account.status.isTerminal }) { state in
      state.account = MigrationAccount(.setup)
      state.began = .now
      state.stopped = nil
      state.sender = nil
      state.isCancelled = false
      state.settings = settings
    }
    guard begins else { throw .refused("a migration of this machine is under way") }
    try start("migration") { [self] in sendWhole(to: peer, settings) }
  }

  func cancel() throws(MachineError) {
    let isSending = enter(
      .cancelling, if: { !$0.account.isIncoming && !$0.account.status.isTerminal }
    ) { $0.isCancelled = true }
    if isSending { update { $0.sender }?.cancel() }
  }

  /// A migration's own thread, from the connection to its end.
  private func sendWhole(to peer: MigrationPeer, _ settings: MigrationOptions) {
    do {
      let channel = try MigrationChannel.open(
        peer, hasReturnPath: settings.has("return-path"))
      try sendWhole(over: channel, peer, settings)
    } catch {
      conclude(error)
    }
  }

  private func sendWhole(
    over channel: ByteChannel, _ peer: MigrationPeer, _ settings: MigrationOptions
  ) throws {
    let before = try freeze()
    do {
      let engine = try makeEngine(channel, peer, settings, sentAs: before)
      guard enter(.active, if: { !$0.isCancelled }, { $0.sender = engine }) else {
        throw MigrationError.cancelled(destination: .notStarted)
      }
      tellPass(1)
      _ = try engine.run()
      try channel.requireCommandSuccess()
      try life.apply(.sendingDone)
    } catch {
      // A machine that may run there must not go on here by itself.
      let mayRunThere =
        (error as? MigrationError).map { $0.destinationRunState != .notStarted } ?? false
      try life.apply(.sendingFailed(wasRunning: before == .running && !mayRunThere))
      throw error
    }
    let stopped = update { $0.stopped }
    enter(.completed) { state in
      state.account.downtimeMilliseconds = stopped.map {
        (ContinuousClock.now - $0).wholeMilliseconds
      }
      state.account.ram = state.sender.map {
        MigrationAccount.RAM($0.progress, after: state.account.totalMilliseconds ?? 0)
      }
    }
  }

  /// Stops the machine for the transfer.
  ///
  /// - Returns: what it was doing, as it is told to who loads it.
  private func freeze() throws(MachineError) -> RunState {
    var before = life.runState
    if before == .running {
      try life.apply(.stop)
      // The guest may have switched itself off just before.
      let after = life.runState
      if after != .paused { before = after }
    }
    update { $0.stopped = .now }
    try life.apply(.sendingEnds)
    return before
  }

  private func makeEngine(
    _ channel: ByteChannel, _ peer: MigrationPeer, _ settings: MigrationOptions,
    sentAs before: RunState
  ) throws(VMStateError) -> SourceEngine {
    let source = MachineSource(parts.ram, try machineState.save(as: before))
    var options = SourceOptions()
    options.bandwidthLimit = settings.bytesPerSecond
    // Who takes a machine closes the link once it has it, or much later: only a command tells
    // something by its end.
    options.waitsForClose = if case .address(.command) = peer { true } else { false }
    return SourceEngine(
      channel: channel, endpoint: source,
      plan: .precopy(returnPath: settings.has("return-path")), options: options)
  }

  /// Tells how a migration failed, the machine being in its state again.
  private func conclude(_ error: any Error) {
    let isCancelled = update { $0.isCancelled }
    let wasHandedOver =
      (error as? MigrationError).map { $0.destinationRunState != .notStarted } ?? false
    enter(isCancelled ? .cancelled : .failed) { state in
      if !isCancelled || wasHandedOver { state.account.failure = "\(error)" }
    }
  }
}
