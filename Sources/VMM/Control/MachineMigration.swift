// What the control plane asks of the part of a machine that moves it.

public import QMP
public import Transport

/// Where a machine goes to or comes from.
public enum MigrationPeer: Sendable {
  /// An address that the machine opens or listens on itself.
  case address(MigrationURI)
  /// A descriptor that a client has passed; to be taken out once.
  case descriptor(QMPDescriptor, name: String)

  /// What messages call it, in QEMU's notation.
  public var uri: String {
    switch self {
    case .address(let address): "\(address)"
    case .descriptor(_, let name): "fd:\(name)"
    }
  }
}

/// What a migration tells those who watch it.
public enum MigrationEvent: Sendable, Equatable {
  /// It has got to a state.
  case status(MigrationStatus)
  /// Memory is gone through for the so manieth time, from 1.
  case pass(Int)
}

/// The part of a machine that sends and receives it.
///
/// Calls come from the server's one thread for commands, those marked *any thread* excepted; all
/// return without waiting for the peer.
public protocol MachineMigration: AnyObject, Sendable {
  /// The capabilities that can be turned on, by QEMU's names; others are refused before they get
  /// here.
  var supportedCapabilities: Set<String> { get }

  /// Calls `observer` with every later change of state and every pass over memory, on the thread
  /// that makes it happen.
  func observe(_ observer: @escaping @Sendable (MigrationEvent) -> Void)

  /// How far it is; any thread.
  var account: MigrationAccount { get }

  /// Begins to send the machine (`migrate`).
  /// - Parameters:
  ///   - peer: where to.
  ///   - settings: as they are now; later changes come through ``apply(_:)``.
  ///   - resumes: whether this carries on a broken postcopy.
  func send(
    to peer: MigrationPeer, _ settings: MigrationOptions, resumes: Bool
  ) throws(MachineError)

  /// Begins to wait for a machine (`migrate-incoming`); the machine was started with
  /// `--incoming defer` and waits.
  /// - Parameters:
  ///   - peer: where from.
  ///   - settings: as they are now.
  ///   - exitsOnError: whether the process ends where the machine cannot be loaded.
  func receive(
    from peer: MigrationPeer, _ settings: MigrationOptions, exitsOnError: Bool
  ) throws(MachineError)

  /// Takes changed parameters into account while a migration is under way.
  func apply(_ settings: MigrationOptions)

  /// Ends a migration that sends (`migrate_cancel`); with none under way it does nothing.
  func cancel() throws(MachineError)

  /// Waits for a source again after a postcopy broke (`migrate-recover`); any thread.
  func recover(from peer: MigrationPeer) throws(MachineError)

  /// Breaks a postcopy so that it can be carried on (`migrate-pause`); any thread.
  func pause() throws(MachineError)

  /// Goes on where `pause-before-switchover` has stopped (`migrate-continue`).
  func proceed() throws(MachineError)

  /// Switches to postcopy as soon as the migration allows (`migrate-start-postcopy`).
  func startPostcopy() throws(MachineError)
}
