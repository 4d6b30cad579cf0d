// Receiving a machine: a listener or an open stream, then the engine, then it runs unless paused.

import MigrationEngine
import QMP
import Transport

extension MachineMover {
  var supportedCapabilities: Set<String> { ["events", "return-path"] }

  func receive(
    from peer: MigrationPeer, _ settings: MigrationOptions, exitsOnError: Bool
  ) throws(MachineError) {
    let origin: MigrationChannel.Origin
    do throws(TransportError) {
      origin = try MigrationChannel.Origin(peer)
    } catch {
      throw .refused("\(error)")
    }
    enter(.setup) { state in
      state.account = MigrationAccount(.setup, isIncoming: true)
      state.account.listeningAddresses = [origin.listeningAddress].compactMap { $0 }
      state.origin = origin
      state.settings = settings
      state.exitsOnError = exitsOnError
    }
    try start("migration") { [self] in receiveWhole(from: origin) }
  }

  func recover(from peer: MigrationPeer) throws(MachineError) {
    throw .refused("no postcopy of this machine was interrupted")
  }

  func pause() throws(MachineError) {
    throw .refused("no postcopy of this machine is under way")
  }

  private func receiveWhole(from origin: MigrationChannel.Origin) {
    do {
      let channel = try origin.channel()
      update { state in
        state.origin = nil
        state.began = .now
      }
      try receiveWhole(over: channel)
    } catch {
      giveUp(error)
    }
  }

  private func receiveWhole(over channel: ByteChannel) throws {
    let arrival = MachineArrival()
    let engine = DestinationEngine(
      channel: channel,
      endpoint: MachineDestination(parts.ram, machineState, telling: arrival))
    enter(.active) { $0.receiver = engine }
    _ = try engine.run()
    // A machine that was stopped when it was sent stays so, whoever loads it.
    let ranThere = arrival.runState.map(\.isRunning) ?? true
    try life.apply(.incomingDone(runs: ranThere && life.startsAfterIncoming))
    enter(.completed)
  }

  /// Tells why the machine did not come; ends the process where that was asked for.
  private func giveUp(_ error: any Error) {
    let exits = update { $0.exitsOnError && !$0.isCancelled }
    enter(.failed) { $0.account.failure = "\(error)" }
    guard exits else { return }
    life.note("the machine could not be loaded: \(error)")
    life.finish(.hostError, byGuest: false)
  }
}
