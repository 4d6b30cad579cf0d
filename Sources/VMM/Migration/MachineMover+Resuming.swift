// The source of a postcopy whose link broke: the machine runs elsewhere, and what it lacks is here.

import MigrationCore
import MigrationEngine
import QMP
import Transport

extension MachineMover {
  /// Carries a postcopy on over a new link (`migrate` with `resume`).
  func resumeSending(
    to peer: MigrationPeer, _ settings: MigrationOptions
  ) throws(MachineError) {
    var source: MachineSource?
    let begins = enter(
      .postcopyRecoverSetup,
      if: { state in
        source = state.suspended
        return state.account.status == .postcopyPaused && state.suspended != nil
      },
      { state in
        state.account.failure = nil
        state.settings = settings
      })
    guard begins, let source else {
      throw .refused("no postcopy of this machine was interrupted")
    }
    do throws(TransportError) {
      _ = try NamedThread(name: "migration") { [self] in
        resume(source, to: peer, settings)
      }
    } catch {
      enter(.postcopyPaused) { $0.account.failure = "\(error)" }
      throw .kernel(action: "cannot start a thread for the recovery", reason: "\(error)")
    }
  }

  /// Gives a postcopy up that broke before anybody knew whether the machine runs elsewhere.
  ///
  /// Whoever asks for it has seen that it does not. It stays paused here, to be continued.
  ///
  /// - Returns: whether there was one.
  func takeBack() -> Bool {
    let wasInDoubt = enter(
      .cancelled,
      if: { $0.account.status == .postcopyPaused && $0.isSuspendedInDoubt },
      { state in
        state.isSuspendedInDoubt = false
        state.suspended = nil
        state.isCancelled = true
      })
    guard wasInDoubt else { return false }
    do throws(MachineError) {
      try life.apply(.sendingFailed(wasRunning: false))
    } catch {
      life.note("\(error)")
    }
    return true
  }

  private func resume(
    _ source: MachineSource, to peer: MigrationPeer, _ settings: MigrationOptions
  ) {
    do {
      let channel = try MigrationChannel.open(peer, hasReturnPath: true)
      var options = SourceOptions()
      options.busyWindow = SourceOptions.pagerBusyWindow
      options.bandwidthLimit = settings.postcopyBytesPerSecond
      options.usesKnownPages = settings.has("x-known-pages")
      options.isDestinationInDoubt = update { $0.isSuspendedInDoubt }
      options.openPreemptChannel = preemptOpening(settings, peer)
      options.statusObserver = { [weak self] status in
        // Somebody answered who has the machine.
        if status == .postcopyActive { self?.update { $0.isSuspendedInDoubt = false } }
        self?.followSending(status)
      }
      let engine = SourceEngine(
        channel: channel, endpoint: source, plan: .recovery, options: options)
      update { state in
        state.resumer = engine
        // What was changed while the connection was made.
        engine.change(bandwidthLimit: state.settings.postcopyBytesPerSecond)
      }
      _ = try engine.run()
      try life.apply(.sendingDone)
      enter(.completed) { state in
        state.takeResumersAccount()
        state.suspended = nil
        state.hasLeft = true
      }
    } catch {
      let knowledge = (error as? MigrationError)?.destinationRunState
      enter(.postcopyPaused) { state in
        state.takeResumersAccount()
        // As good as its running: whoever answers has the machine.
        if knowledge == .running { state.isSuspendedInDoubt = false }
        state.account.failure = "\(error)" + (state.isSuspendedInDoubt ? Self.doubt : "")
      }
    }
  }
}

extension MachineMover.State {
  /// Adds what the engine counted that carried a postcopy on, which is asked no more.
  fileprivate mutating func takeResumersAccount() {
    if let progress = resumer.take()?.progress { account.add(progress) }
  }
}
