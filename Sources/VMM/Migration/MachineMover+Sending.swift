// Sending a machine: its memory in rounds while it runs, then itself; or itself first. It goes on
// here where that failed, unless it may have begun to run there.

import GuestMemory
import JSON
import MigrationCore
import MigrationEngine
import QMP
import Transport
import VMState

extension MachineMover {
  func send(
    to peer: MigrationPeer, _ settings: MigrationOptions, resumes: Bool
  ) throws(MachineError) {
    if settings.takesPreempt { try MigrationChannel.requireSeveral(to: peer) }
    if resumes { return try resumeSending(to: peer, settings) }
    // A file that is for another machine is found out before anything goes.
    let path = settings["x-exclude-bitmap"].string ?? ""
    let operatorsPages = path.isEmpty ? [] : try ExclusionFile.read(path, for: parts.ram)
    let begins = enter(.setup, if: { $0.account.status.isTerminal }) { state in
      state.account = MigrationAccount(.setup)
      if settings.has("x-known-pages") { state.account.known = MigrationAccount.Known() }
      state.began = .now
      state.sender = nil
      state.hasLeft = false
      state.isCancelled = false
      state.wantsPostcopy = false
      state.settings = settings
    }
    guard begins else { throw .refused("a migration of this machine is under way") }
    try start("migration") { [self] in sendLive(to: peer, settings, leavingOut: operatorsPages) }
  }

  func cancel() throws(MachineError) {
    let (sender, status, isIncoming) = update {
      ($0.sender, $0.account.status, $0.account.isIncoming)
    }
    guard !isIncoming, !status.isTerminal else { return }
    if takeBack() { return }
    if let sender, !sender.cancel() {
      throw .refused(
        "the machine has gone to the destination already, so that its migration cannot be "
          + "cancelled here: wait for its end")
    }
    _ = enter(.cancelling, if: { !$0.account.status.isTerminal }) { $0.isCancelled = true }
  }

  func proceed() throws(MachineError) {
    guard update({ $0.sender })?.proceed() == true else {
      throw .refused("no migration of this machine waits for the word to switch over")
    }
  }

  func startPostcopy() throws(MachineError) {
    let sender = update { state in
      state.wantsPostcopy = true
      return state.sender
    }
    // As with QEMU, one that is over or too far on is none to complain about.
    _ = sender?.startPostcopy()
  }

  func apply(_ settings: MigrationOptions) {
    let (sender, resumer) = update { state in
      state.settings = settings
      return (state.sender, state.resumer)
    }
    sender?.change(to: settings)
    resumer?.change(bandwidthLimit: settings.postcopyBytesPerSecond)
  }

  // MARK: The migration's own thread

  /// From the connection to the end.
  private func sendLive(
    to peer: MigrationPeer, _ settings: MigrationOptions, leavingOut operatorsPages: [RAMRange]
  ) {
    let source = MachineSource(parts.ram, hooks(leavingOut: operatorsPages))
    // What an error that says nothing about it means for the machine at the destination.
    var knowledge = DestinationRunState.notStarted
    do {
      let channel = try MigrationChannel.open(
        peer, hasReturnPath: settings.usesReturnPath)
      let engine = LiveSourceEngine(
        channel: channel, endpoint: source, options: liveOptions(settings, peer))
      let isWanted = update { state in
        guard !state.isCancelled else { return false }
        state.sender = engine
        // What was changed while the connection was made.
        engine.change(to: state.settings)
        if state.wantsPostcopy { _ = engine.startPostcopy() }
        return true
      }
      guard isWanted else { throw MigrationError.cancelled(destination: .notStarted) }
      try engine.run()
      knowledge = settings.usesReturnPath ? .running : .unknown
      // A destination that has confirmed has the machine, however the command between ends: it is
      // ended by this side. Where nobody confirms, a command that failed may have failed to pass
      // all of it on, or have failed after that.
      if !settings.usesReturnPath { try channel.requireCommandSuccess() }
      try life.apply(.sendingDone)
      finishAccount()
      enter(.completed) { state in
        state.hasLeft = settings.usesReturnPath
        // And with it the link: whatever leads to the other side waits for its end.
        state.sender = nil
      }
    } catch {
      settle(error, source, (error as? MigrationError)?.destinationRunState ?? knowledge)
    }
  }

  /// What the machine lets its source do.
  private func hooks(leavingOut operatorsPages: [RAMRange]) -> MachineSource.Hooks {
    let hints = FreePageHints(parts.balloon, parts.excluded)
    return MachineSource.Hooks(
      log: dirtyLog,
      freeze: { [self] in try freeze() },
      save: { [machineState] before in try machineState.save(as: before) },
      throttle: { [accelerator] throttle in accelerator.throttle(throttle) },
      excluded: parts.excluded, hints: life.runState.isRunning ? hints : nil,
      operatorsPages: operatorsPages)
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
    try life.apply(.sendingEnds)
    return before
  }

  private func liveOptions(
    _ settings: MigrationOptions, _ peer: MigrationPeer
  ) -> LiveSourceOptions {
    var options = LiveSourceOptions()
    options.settings = settings.liveSettings
    options.bandwidthLimit = settings.bytesPerSecond
    options.postcopyBandwidthLimit = settings.postcopyBytesPerSecond
    options.usesReturnPath = settings.usesReturnPath
    options.allowsPostcopy = settings.has("postcopy-ram")
    options.usesKnownPages = settings.has("x-known-pages")
    options.openPreemptChannel = preemptOpening(settings, peer)
    // Who takes a machine closes the link once it has it, or much later: only a command tells
    // something by its end.
    options.waitsForClose = if case .address(.command) = peer { true } else { false }
    options.statusObserver = { [weak self] status in self?.followSending(status) }
    options.passObserver = { [weak self] count in self?.tellPass(Int(count)) }
    return options
  }

  /// Opens the connection of requested pages, where there is to be one.
  func preemptOpening(_ settings: MigrationOptions, _ peer: MigrationPeer) -> PreemptOpening? {
    guard settings.takesPreempt else { return nil }
    return { try MigrationChannel.open(peer, hasReturnPath: true) }
  }

  /// Passes on how far the engine is; what its end means is known only after it.
  func followSending(_ status: MigrationCore.MigrationStatus) {
    switch status {
    case .none, .setup, .cancelling, .cancelled, .completed, .failed, .postcopyPaused: break
    case .active, .preSwitchover, .device, .postcopyActive, .postcopyRecoverSetup,
      .postcopyRecover:
      _ = enter(QMP.MigrationStatus(status.rawValue), if: { !$0.isCancelled }, { _ in })
    }
  }

  // MARK: How it ended

  /// Puts the machine into the state that follows from how its migration failed, and from what is
  /// known of it at the destination.
  private func settle(
    _ error: any Error, _ source: MachineSource, _ knowledge: DestinationRunState
  ) {
    finishAccount()
    let isPostcopy = update { $0.sender?.account.progress.status == .postcopyPaused }
    if isPostcopy {
      // The one good copy of the machine is there, and what it lacks is here.
      return enter(.postcopyPaused) { state in
        state.suspended = source
        state.isSuspendedInDoubt = knowledge == .unknown
        state.account.failure = "\(error)" + (knowledge == .unknown ? Self.doubt : "")
      }
    }
    if let before = source.frozenFrom {
      // A machine that may run there must not go on here by itself.
      let goesOn = before == .running && knowledge == .notStarted
      do throws(MachineError) {
        try life.apply(.sendingFailed(wasRunning: goesOn))
      } catch {
        life.note("\(error)")
      }
    }
    // The engine may have ended before whoever cancelled it took note of that.
    var isCancelled = update { $0.isCancelled }
    if case MigrationError.cancelled = error, !isCancelled {
      isCancelled = true
      enter(.cancelling)
    }
    // Cancelled is only what certainly did not get there.
    if knowledge == .unknown { isCancelled = false }
    enter(isCancelled ? .cancelled : .failed) { state in
      guard !isCancelled || knowledge != .notStarted else { return }
      let doubt = knowledge == .unknown && source.frozenFrom != nil ? Self.doubtOfWhole : ""
      state.account.failure = "\(error)" + doubt
    }
  }

  /// What a person can do about a postcopy of which nobody knows whether it began.
  static let doubt =
    " If it waits there, carry it on (migrate-recover, and migrate with resume here); if there is "
    + "none, migrate_cancel and cont let the machine go on here."

  /// What a person can do about a machine that was sent whole and that nobody confirmed.
  static let doubtOfWhole =
    " It stands still here. Look at the destination: if it does not run there, cont lets it go on "
    + "here."

  /// Keeps what the engine counted, which is asked no more.
  func finishAccount() {
    update { state in
      guard let account = state.sender?.account else { return }
      let milliseconds = state.began.map { (ContinuousClock.now - $0).wholeMilliseconds } ?? 0
      state.account.take(account, after: milliseconds)
    }
  }
}
