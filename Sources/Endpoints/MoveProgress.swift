// What a running move tells the person who waits for it.

/// A sample of a move's progress, as a progress bar or a line of JSON shows it.
public struct MoveProgress: Sendable, Equatable {
  /// What the move is doing.
  public enum Phase: String, Sendable {
    /// Talking to the machine's monitor; no memory has moved yet.
    case preparing
    /// Memory is moving.
    case memory
    /// The machine has begun to run at the destination while memory still follows.
    case running
    /// Memory is here; the device state and the books are being made durable.
    case sealing
  }

  /// What the move is doing.
  public var phase: Phase
  /// Bytes of guest memory dealt with so far; a page that travels twice counts twice.
  public var bytesDone: UInt64
  /// Bytes of guest memory announced, once they are.
  public var bytesTotal: UInt64?
  /// Bytes of guest memory dealt with per second, over the last second or so.
  public var bytesPerSecond: Double
  /// Pages that the source still counts as dirty, where it tells.
  public var dirtyPages: UInt64?
  /// Pages that were all zero.
  public var zeroPages: UInt64
  /// Pages that the guest asked for, in a restore.
  public var pageRequests: UInt64
  /// Pages that travelled as they are, where the source tells.
  public var normalPages: UInt64?
  /// Pages that do not travel because nobody needs their content, where the source tells.
  public var excludedPages: UInt64?
  /// How often the source has gathered what had become dirty, in a move.
  public var round: UInt64?
  /// Bytes of guest memory that the guest makes dirty in a second, where the source tells.
  public var dirtyBytesPerSecond: Double?
  /// Whether the move has an end at these rates.
  public var converges = true
  /// Seconds left at the present rate, where that can be told.
  public var secondsLeft: Double?

  /// A sample; everything but the phase may be left out.
  public init(
    phase: Phase, bytesDone: UInt64 = 0, bytesTotal: UInt64? = nil, bytesPerSecond: Double = 0,
    dirtyPages: UInt64? = nil, zeroPages: UInt64 = 0, pageRequests: UInt64 = 0,
    secondsLeft: Double? = nil
  ) {
    self.phase = phase
    self.bytesDone = bytesDone
    self.bytesTotal = bytesTotal
    self.bytesPerSecond = bytesPerSecond
    self.dirtyPages = dirtyPages
    self.zeroPages = zeroPages
    self.pageRequests = pageRequests
    self.secondsLeft = secondsLeft
  }
}

/// Where an operation reports while it works.
///
/// All closures may be called from any thread.
public struct MoveObserver: Sendable {
  /// Takes a sample of the progress, at most some ten times a second.
  public var progress: @Sendable (MoveProgress) -> Void
  /// Takes a sentence that a person should read: a choice Godwit made, and why.
  public var note: @Sendable (String) -> Void
  /// Told once that the guest runs at its destination: milliseconds since the connection.
  public var running: @Sendable (Double) -> Void

  /// An observer; what is left out is not reported.
  public init(
    progress: @escaping @Sendable (MoveProgress) -> Void = { _ in },
    note: @escaping @Sendable (String) -> Void = { _ in },
    running: @escaping @Sendable (Double) -> Void = { _ in }
  ) {
    self.progress = progress
    self.note = note
    self.running = running
  }
}
