// What `restore` and `start` are asked for, and what they answer.

/// How a checkpoint is given to a QEMU.
public enum RestoreMode: Sendable {
  /// The guest runs at once and its memory follows (postcopy from the first byte).
  case instant
  /// All memory first, then the guest runs (precopy).
  case eager
  /// Carries on an instant restore that broke: the guest waits for its remaining pages.
  case recover
}

/// Which checkpoint to restore, where and how.
public struct RestoreRequest: Sendable {
  /// The checkpoint's name.
  public var name: String
  /// The QMP address of a QEMU started with `-incoming defer`.
  public var qmp: String
  /// How to give it.
  public var mode: RestoreMode
  /// Whether the guest stays paused once its state is loaded (`-S`).
  public var leavesPaused: Bool
  /// What to run as the keeper of the monitor (`MonitorKeeper`), for `--recover` to work even
  /// where QEMU's main loop stands still; nil does without.
  public var keeperCommand: [String]?

  /// A request with the defaults of the command line.
  public init(
    name: String, qmp: String, mode: RestoreMode = .instant, leavesPaused: Bool = false,
    keeperCommand: [String]? = nil
  ) {
    self.name = name
    self.qmp = qmp
    self.mode = mode
    self.leavesPaused = leavesPaused
    self.keeperCommand = keeperCommand
  }
}

/// What a restore did.
public struct RestoreResult: Sendable {
  /// The checkpoint's name.
  public var name: String
  /// From the migration's connection to the guest running, in milliseconds; nil where the
  /// guest was not to run, or ran before (recovery).
  public var runningMilliseconds: Double?
  /// Pages the guest asked for.
  public var pageRequests: UInt64
  /// Pages that went without being asked for.
  public var pagesPushed: UInt64
  /// From a request read to its page written, in microseconds: median and 99th percentile.
  public var requestMicroseconds: (p50: Double, p99: Double)?
  /// How long the whole restore took, in seconds.
  public var seconds: Double
}

/// Which checkpoint to start, how often and in what QEMU.
public struct StartRequest: Sendable {
  /// The checkpoint's name.
  public var name: String
  /// How many machines to start.
  public var count: Int
  /// Whether they share their memory until they write to it.
  public var sharesMemory: Bool
  /// Whether all memory is loaded before a guest runs.
  public var isEager: Bool
  /// The QEMU and its arguments, as for a fresh start of the machine.
  public var qemuCommand: [String]
  /// Where the QMP sockets go; nil makes a fresh private directory.
  public var runDirectory: String?
  /// As in `RestoreRequest`.
  public var keeperCommand: [String]?

  /// A request with the defaults of the command line.
  public init(
    name: String, count: Int = 1, sharesMemory: Bool = false, isEager: Bool = false,
    qemuCommand: [String], runDirectory: String? = nil, keeperCommand: [String]? = nil
  ) {
    self.name = name
    self.count = count
    self.sharesMemory = sharesMemory
    self.isEager = isEager
    self.qemuCommand = qemuCommand
    self.runDirectory = runDirectory
    self.keeperCommand = keeperCommand
  }
}

/// A machine that `start` brought up.
public struct StartedGuest: Sendable {
  /// Its QEMU's process.
  public var pid: Int32
  /// Its QMP socket.
  public var qmp: String
  /// How its memory got there.
  public var restore: RestoreResult
}
