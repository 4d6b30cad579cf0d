// What `migrate` is asked for, and what it answers.

/// When a postcopy begins.
public enum PostcopyStart: String, Sendable, CaseIterable {
  /// Once all of memory has been sent for the first time.
  case firstPass = "first-pass"
  /// At once: the machine runs at the destination before its memory is there.
  case now
}

/// Which machine to move, where to, and how.
public struct MigrateRequest: Sendable {
  /// The QMP address of the endpoint that has the machine.
  public var source: String
  /// The QMP address of the endpoint that waits for it, on this host or another.
  public var destination: EndpointAddress
  /// Whether the machine stands still for the whole copy.
  public var isPaused: Bool
  /// When to go over to postcopy; nil for a precopy to its end.
  public var postcopy: PostcopyStart?
  /// How long the machine may stand still, in milliseconds; nil leaves it at what the source has.
  public var downtimeLimitMilliseconds: UInt64?
  /// How many bytes a second the move may take; nil for as many as the link takes.
  public var bytesPerSecond: UInt64?
  /// Move even where something is known to be unsound.
  public var isForced: Bool
  /// The absolute path of a file that names pages which need not travel, for the source to read;
  /// nil for none.
  public var excludedPages: String?
  /// Carry on a postcopy whose link broke.
  public var recovers: Bool
  /// How to start a process that keeps the destination's monitor open for a recovery, as words of
  /// a command; nil for none.
  public var keeperCommand: [String]?
  /// How ssh is called where the destination is on another host, with options, in the shell's
  /// notation.
  public var secureShell: String

  /// A request with the defaults of the command line.
  public init(
    source: String, destination: EndpointAddress, isPaused: Bool = false,
    postcopy: PostcopyStart? = nil,
    downtimeLimitMilliseconds: UInt64? = nil, bytesPerSecond: UInt64? = nil,
    isForced: Bool = false, recovers: Bool = false, excludedPages: String? = nil,
    keeperCommand: [String]? = nil, secureShell: String = "ssh"
  ) {
    self.source = source
    self.destination = destination
    self.isPaused = isPaused
    self.postcopy = postcopy
    self.downtimeLimitMilliseconds = downtimeLimitMilliseconds
    self.bytesPerSecond = bytesPerSecond
    self.isForced = isForced
    self.recovers = recovers
    self.excludedPages = excludedPages
    self.keeperCommand = keeperCommand
    self.secureShell = secureShell
  }
}

/// How a machine got to its destination.
public enum MigrateMode: String, Sendable {
  /// All of its memory was there before it ran.
  case precopy
  /// It ran before all of its memory was there.
  case postcopy
  /// It stood still while its memory was copied.
  case paused
}

/// What a move did.
public struct MigrateResult: Sendable {
  /// The source's last word on the migration: `completed`.
  public var status: String
  /// How the machine got there.
  public var mode: MigrateMode
  /// Whether it runs at the destination; one that stood still before stands still there.
  public var isRunning: Bool
  /// How long the machine stood still, in milliseconds, from the source's STOP to the destination's
  /// RESUME by their own clocks; by the source's account where these cannot be compared, nil where
  /// it stood still before.
  public var downtimeMilliseconds: Double?
  /// What the source's own account says of that, in milliseconds.
  public var reportedDowntimeMilliseconds: Double?
  /// How often the source gathered what had become dirty.
  public var rounds: UInt64
  /// Bytes that the source sent.
  public var wireBytes: UInt64
  /// Bytes of the machine's memory.
  public var ramBytes: UInt64
  /// Pages of the machine that were sent as one value throughout.
  public var pagesZero: UInt64
  /// Pages of the machine that were sent as they are.
  public var pagesNormal: UInt64
  /// Pages of the machine that travelled as their hashes, since the destination holds them; nil
  /// where the two ends do not know of that.
  public var pagesKnown: UInt64?
  /// Pages of the machine that were left out, because nobody needs their content; nil where the
  /// source does not tell.
  public var pagesExcluded: UInt64?
  /// Pages that the destination asked for.
  public var pageRequests: UInt64
  /// Bytes that were sent while the machine ran at the source, stood still, and ran at the
  /// destination; nil where the source does not tell.
  public var phaseBytes: PhaseBytes?
  /// How long the move took, in seconds.
  public var seconds: Double

  /// Bytes sent, by what the machine did meanwhile.
  public struct PhaseBytes: Sendable, Equatable {
    /// It ran at the source.
    public var precopy: UInt64
    /// It stood still.
    public var downtime: UInt64
    /// It ran at the destination.
    public var postcopy: UInt64
  }
}
