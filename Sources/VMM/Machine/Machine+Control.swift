// What can be asked of a machine.

import Devices
import Transport

extension Machine {
  /// Starts the machine for the first time, unless it waits for `cont` or for its state.
  ///
  /// - Throws: ``MachineError``.
  public func launch() throws(MachineError) {
    try serveGuest()
    if case .uri(let text) = configuration.incoming { try receive(from: text) }
    guard configuration.incoming == nil, !configuration.startsPaused else { return }
    try life.apply(.launch)
  }

  /// Waits for the machine's state from where it was started to.
  private func receive(from text: String) throws(MachineError) {
    let address: MigrationURI
    do throws(TransportError) {
      address = try MigrationURI(text)
    } catch {
      throw .configuration("\(error)")
    }
    try migration.receive(from: .address(address), .standard, exitsOnError: true)
  }

  /// Stops all processors; when it returns, none runs and no device touches the guest's memory.
  ///
  /// A machine that does not run stays as it is; one that waits for its state will not run by
  /// itself once it has it.
  public func stop() throws(MachineError) {
    try life.apply(.stop)
  }

  /// Lets the processors run on.
  ///
  /// - Throws: ``MachineError/runState(_:)`` where only a reset helps, or the state travels.
  public func cont() throws(MachineError) {
    try life.apply(.cont)
  }

  /// Puts processors, devices and boot images into their first state; a machine that runs runs
  /// on, any other is as before its start.
  ///
  /// - Throws: ``MachineError`` where a boot image is gone or has changed beyond use.
  public func reset() throws(MachineError) {
    try reset(byGuest: false)
  }

  func reset(byGuest: Bool) throws(MachineError) {
    // There is nothing in it yet, or what is in it may just be arriving.
    guard life.runState != .inMigrate else { return life.tell(.reset(byGuest: byGuest)) }
    try life.whileStopped { () throws(MachineError) in
      // What the guest asked for before it began anew no longer counts.
      life.dropRequests()
      try resetParts()
    }
    try life.apply(.reset)
    life.tell(.reset(byGuest: byGuest))
  }

  /// Presses the power button: a guest that listens to it switches itself off.
  public func powerDown() {
    life.tell(.powerDown)
    parts.power.pressPowerButton()
  }

  /// Ends the machine: processors, devices and threads; whoever waits for its end returns.
  ///
  /// - Parameter reason: what is told to those who watch it.
  public func quit(_ reason: MachineEvent.ShutdownReason = .hostQuit) {
    life.finish(reason, byGuest: false)
  }

  /// Does something while no processor runs, whatever the run state, and goes on as before.
  public func whileStopped<Result: Sendable>(
    _ work: () throws(MachineError) -> Result
  ) throws(MachineError) -> Result {
    try life.whileStopped(work)
  }

  /// Changes the run state as a move or a snapshot asks; processors stop or run with it.
  ///
  /// - Parameters:
  ///   - event: what happens.
  ///   - work: done once the processors stand still, where they stop, and before they run, where
  ///     they do.
  /// - Throws: ``MachineError/runState(_:)`` where the state does not allow it.
  public func apply(
    _ event: RunEvent, during work: () throws(MachineError) -> Void = {}
  ) throws(MachineError) {
    try life.apply(event, during: work)
  }

  /// Whether a machine that waits for its state runs once it has it: `stop` and `cont` say so
  /// meanwhile.
  public var startsAfterIncoming: Bool { life.startsAfterIncoming }

  // What the guest asks for

  /// Starts the thread that carries the guest's requests out.
  private func serveGuest() throws(MachineError) {
    let life = life
    do throws(TransportError) {
      _ = try NamedThread(name: "machine") { [weak self] in
        while let request = life.nextRequest() {
          guard let machine = self else { return }
          machine.carryOut(request)
        }
      }
    } catch {
      throw .kernel(action: "cannot start the machine's thread", reason: "\(error)")
    }
  }

  private func carryOut(_ request: GuestRequest) {
    switch request {
    case .reset where configuration.endsOnReset:
      life.finish(.guestReset, byGuest: true)
    case .reset:
      do throws(MachineError) {
        try reset(byGuest: true)
      } catch {
        life.note("\(error)")
        life.finish(.hostError, byGuest: false)
      }
    case .shutdown:
      guard configuration.staysOnShutdown else {
        return life.finish(.guestShutdown, byGuest: true)
      }
      try? life.apply(.guestShutdown)
      life.tell(.shutdown(byGuest: true, reason: .guestShutdown))
    case .panic:
      life.tell(.guestPanicked)
      try? life.apply(.guestPanic)
    case .balloonChanged(let actualByteCount):
      life.tell(.balloonChanged(actualByteCount: actualByteCount))
    case .internalError(let sentence):
      life.note(sentence)
      try? life.apply(.internalError)
    }
  }
}
