// Receiving a machine: a listener or an open stream, then the engine, then it runs unless paused.

import Devices
import GuestMemory
import MigrationCore
import MigrationEngine
import Pager
import QMP
import Transport
import Userfault

extension MachineMover {
  var supportedCapabilities: Set<String> {
    var names: Set = [
      "events", "return-path", "pause-before-switchover", "auto-converge", "x-known-pages",
    ]
    if PagerSession.isOffered {
      names.formUnion(["postcopy-ram", "postcopy-blocktime", "postcopy-preempt"])
    }
    if accelerator.limitsDirtyRate { names.insert("dirty-limit") }
    return names
  }

  func receive(
    from peer: MigrationPeer, _ settings: MigrationOptions, exitsOnError: Bool
  ) throws(MachineError) {
    if settings.takesPreempt { try MigrationChannel.requireSeveral(to: peer) }
    let origin: MigrationChannel.Origin
    do throws(TransportError) {
      origin = try MigrationChannel.Origin(peer)
    } catch {
      throw .refused("\(error)")
    }
    guard life.runState == .postMigrate else {
      return try receive(from: origin, settings, exitsOnError, isReturn: false)
    }
    guard update({ $0.hasLeft }) else {
      throw .refused(
        "no destination has confirmed that it has this machine (it was sent without the capability "
          + "return-path, to a file or to be saved), so that this may be the only one: what was "
          + "left here is not written over")
    }
    try life.apply(.incomingBegins)
    do throws(MachineError) {
      try receive(from: origin, settings, exitsOnError, isReturn: true)
    } catch {
      try life.apply(.incomingFailed)
      throw error
    }
  }

  /// Begins to receive a machine; `isReturn` where it comes into what one left behind here.
  private func receive(
    from origin: MigrationChannel.Origin, _ settings: MigrationOptions, _ exitsOnError: Bool,
    isReturn: Bool
  ) throws(MachineError) {
    let takesKnownPages = settings.has("x-known-pages")
    // Huge pages do not travel as hashes.
    let keepsMemory =
      isReturn && takesKnownPages
      && parts.ram.blocks.allSatisfy { $0.pageSize == MachineDestination.pageByteCount }
    let destination = MachineDestination(
      parts.ram, machineState, keepsMemory: keepsMemory,
      hooks: MachineDestination.Hooks(
        overwrite: { [life, excluded = parts.excluded] in
          try life.apply(.incomingOverwrites)
          // What was declared here before the machine went is not what it declares now.
          if isReturn { excluded.takeBackAll() }
        },
        allowDiscarding: { [balloon = parts.balloon, excluded = parts.excluded] isAllowed in
          balloon.allowDiscarding(isAllowed)
          excluded.allowEmptying(isAllowed)
        },
        start: { [life] in
          try life.apply(.incomingDone(runs: life.startsAfterIncoming))
        }))
    let reception = try reception(
      into: destination, settings)
    enter(.setup) { state in
      state.account = MigrationAccount(.setup, isIncoming: true)
      // What sent it away knows nothing of its return.
      state.sender = nil
      state.isCancelled = false
      state.account.listeningAddresses = [origin.listeningAddress].compactMap { $0 }
      state.origin = origin
      state.receiver = reception
      state.settings = settings
      state.exitsOnError = exitsOnError
    }
    try start("migration") { [self] in receive(destination, by: reception, from: origin) }
  }

  /// What fills the machine: a pager where its memory may come after it.
  private func reception(
    into destination: MachineDestination, _ settings: MigrationOptions
  ) throws(MachineError) -> any MachineReception {
    let observer: @Sendable (MigrationCore.MigrationStatus) -> Void = { [weak self] status in
      self?.follow(status)
    }
    let takesKnownPages = settings.has("x-known-pages")
    guard settings.has("postcopy-ram") else {
      return WholeReception(
        destination,
        knownContent: takesKnownPages
          ? try leftHere(by: destination) + known.contents() : nil,
        observer: observer)
    }
    var command = pagerCommand + (takesKnownPages ? known.arguments : [])
    if destination.keepsMemory { command.append("--keeps-memory") }
    if settings.takesPreempt { command.append("--takes-preempt") }
    do {
      return try PagerSession(
        command: command,
        blocks: try MachineDestination.sharedBlocks(of: parts.ram),
        userfault: try Userfault(features: PagerSession.features(for: parts.ram)),
        threads: accelerator.threadIdentifiers, host: destination, observer: observer)
    } catch let error as MachineError {
      throw error
    } catch {
      throw .refused("\(error)")
    }
  }

  /// What the machine left in its own memory when it went, where it comes into that.
  private func leftHere(
    by destination: MachineDestination
  ) throws(MachineError) -> [any KnownContent] {
    guard destination.keepsMemory else { return [] }
    do {
      return try parts.ram.blocks.filter(\.isMigratable).map { block in
        let content = try HashedPages(ofMemory: block)
        content.prepare()
        return content
      }
    } catch {
      throw .refused("\(error)")
    }
  }

  private func receive(
    _ destination: MachineDestination, by reception: any MachineReception,
    from origin: MigrationChannel.Origin
  ) {
    do {
      let channel = try origin.channel()
      update { state in
        state.origin = nil
        state.began = .now
      }
      let preempt = preemptWait(at: origin)
      defer { leave(origin) }
      try reception.receive(over: channel, preempt: preempt)
      try finish(destination)
    } catch {
      giveUp(error)
    }
  }

  /// What waits for the connection of requested pages where the first one has come; where there is
  /// to be none, nobody else may connect any more.
  func preemptWait(at origin: MigrationChannel.Origin) -> PreemptWait? {
    guard update({ $0.settings.takesPreempt }) else {
      origin.close()
      return nil
    }
    update { $0.preemptOrigin = origin }
    return { [weak self] () throws(TransportError) in
      let channel = try origin.channel()
      self?.leave(origin)
      return channel
    }
  }

  /// Waits no more: whoever connects is refused, and not left to believe that it is heard.
  func leave(_ origin: MigrationChannel.Origin) {
    origin.close()
    update { if $0.preemptOrigin === origin { $0.preemptOrigin = nil } }
  }

  private func finish(_ destination: MachineDestination) throws {
    if life.runState == .inMigrate {
      // A machine that was stopped when it was sent stays so, whoever loads it.
      let ranThere = destination.runState.map(\.isRunning) ?? true
      try life.apply(.incomingDone(runs: ranThere && life.startsAfterIncoming))
    }
    enter(.completed) { $0.hasLeft = false }
  }

  /// Passes on how far the engine is; what its end means is known only after it.
  private func follow(_ status: MigrationCore.MigrationStatus) {
    switch status {
    case .none, .setup, .cancelling, .cancelled, .completed, .failed: break
    case .active, .preSwitchover, .device, .postcopyActive, .postcopyPaused,
      .postcopyRecoverSetup, .postcopyRecover:
      enter(QMP.MigrationStatus(status.rawValue))
    }
  }

  /// Tells why the machine did not come; ends the process where that was asked for.
  ///
  /// One that runs already goes on, and waits for another link.
  func giveUp(_ error: any Error) {
    if case PagerError.interrupted = error {
      return update { $0.account.failure = "\(error)" }
    }
    // What was left behind here is that again; a machine that was started to be sent to stays so.
    let isAwaited = life.runState == .inMigrate
    if isAwaited { try? life.apply(.incomingFailed) }
    // One that is there, running or paused, may be the only one.
    let exits = update { isAwaited && $0.exitsOnError && !$0.isCancelled }
    enter(.failed) { $0.account.failure = "\(error)" }
    guard exits else { return }
    life.note("the machine could not be loaded: \(error)")
    life.finish(.hostError, byGuest: false)
  }
}
