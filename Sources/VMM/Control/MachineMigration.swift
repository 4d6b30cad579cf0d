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

/// How far a migration is, as `query-migrate` tells it.
///
/// What is nil is left out of the answer.
public struct MigrationAccount: Sendable, Equatable {
  /// The state, in QEMU's words.
  public var status: MigrationStatus
  /// Whether the machine goes or comes; an incoming one tells less.
  public var isIncoming: Bool
  /// Milliseconds since it began, or that it took.
  public var totalMilliseconds: Int?
  /// Milliseconds that the machine stood still.
  public var downtimeMilliseconds: Int?
  /// Milliseconds that it would stand still if it were stopped now.
  public var expectedDowntimeMilliseconds: Int?
  /// Milliseconds spent before the first page.
  public var setupMilliseconds: Int?
  /// Why it failed.
  public var failure: String?
  /// What forbids a migration at present.
  public var blockers: [String]
  /// Where an incoming one listens, the real port included.
  public var listeningAddresses: [MigrationURI]
  /// The account of the memory; nil before it begins, and for an incoming one.
  public var ram: RAM?

  /// The account of the memory.
  public struct RAM: Sendable, Equatable {
    /// Bytes sent.
    public var transferredByteCount: UInt64 = 0
    /// Bytes that are still to be sent.
    public var remainingByteCount: UInt64 = 0
    /// Bytes of RAM in all.
    public var totalByteCount: UInt64 = 0
    /// Pages of zeros.
    public var zeroPageCount: UInt64 = 0
    /// Pages sent as they are.
    public var normalPageCount: UInt64 = 0
    /// Pages dirtied in a second.
    public var dirtyPagesPerSecond: UInt64 = 0
    /// Times that the dirty log was read.
    public var dirtySyncCount: UInt64 = 0
    /// Pages that the destination asked for.
    public var postcopyRequestCount: UInt64 = 0
    /// Pages sent in a second.
    public var pagesPerSecond: UInt64 = 0
    /// The rate of sending, in 10^6 bits a second.
    public var megabitsPerSecond: Double = 0
    /// Bytes sent while the machine ran here.
    public var precopyByteCount: UInt64 = 0
    /// Bytes sent while it stood still.
    public var downtimeByteCount: UInt64 = 0
    /// Bytes sent while it ran there.
    public var postcopyByteCount: UInt64 = 0

    /// An account of nothing.
    public init() {}
  }

  /// An account without figures.
  /// - Parameters:
  ///   - status: the state.
  ///   - isIncoming: whether the machine comes.
  public init(_ status: MigrationStatus = .none, isIncoming: Bool = false) {
    self.status = status
    self.isIncoming = isIncoming
    blockers = []
    listeningAddresses = []
  }
}
