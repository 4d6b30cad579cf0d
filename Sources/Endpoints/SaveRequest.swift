// What `save` is asked for, and what it answers.

import CheckpointStore

/// How the guest's memory is copied out.
public enum SaveMode: String, Sendable, CaseIterable {
  /// Memory is copied while the guest runs, until what is left fits a short stop.
  case precopy
  /// QEMU's background snapshot: the checkpoint is of the moment the save began.
  case live
  /// The guest stands still for the whole copy.
  case paused
}

/// What becomes of the virtual machine once its checkpoint is whole.
public enum AfterSave: String, Sendable, CaseIterable {
  /// It goes on as it was.
  case resume
  /// It stays, stopped.
  case pause
  /// Its QEMU is told to quit.
  case quit
}

/// What to save, how, and what then.
public struct SaveRequest: Sendable {
  /// The QMP address of the QEMU: a Unix socket's path, or `host:port`.
  public var qmp: String
  /// The new checkpoint's name.
  public var name: String
  /// How to copy; nil lets Godwit choose what is sound for this QEMU.
  public var mode: SaveMode?
  /// What becomes of the machine afterwards.
  public var then: AfterSave
  /// Save memory although the guest goes on writing to its disks.
  public var ignoresDisks: Bool
  /// Whether pages are compressed where that pays.
  public var compresses: Bool
  /// The absolute path of a file that names pages which need not be saved, for the machine to read;
  /// nil for none.
  public var excludedPages: String?

  /// A request with the defaults of the command line.
  public init(
    qmp: String, name: String, mode: SaveMode? = nil, then: AfterSave = .resume,
    ignoresDisks: Bool = false, compresses: Bool = true, excludedPages: String? = nil
  ) {
    self.qmp = qmp
    self.name = name
    self.mode = mode
    self.then = then
    self.ignoresDisks = ignoresDisks
    self.compresses = compresses
    self.excludedPages = excludedPages
  }
}

/// What a save did.
public struct SaveResult: Sendable {
  /// The checkpoint's name.
  public var name: String
  /// How memory was copied; nil for a received stream.
  public var mode: SaveMode?
  /// Bytes of guest memory in the checkpoint.
  public var ramBytes: UInt64
  /// Pages of 4 KiB that are all zero.
  public var pagesZero: UInt64
  /// Pages of 4 KiB that the store did not have before.
  public var pagesNew: UInt64
  /// Pages of 4 KiB whose content the store had already.
  public var pagesKnown: UInt64
  /// Pages of 4 KiB among those that are zero which the machine left out, because nobody needs
  /// their content; nil where it does not tell.
  public var pagesExcluded: UInt64?
  /// Bytes that this checkpoint added to the store.
  public var storedBytes: UInt64
  /// How long the guest stood still, in milliseconds; nil where nobody could tell.
  public var downtimeMilliseconds: Double?
  /// How long the save took, in seconds.
  public var seconds: Double

  init(
    name: String, mode: SaveMode?, summary: CheckpointSummary, pagesExcluded: UInt64? = nil,
    downtimeMilliseconds: Double?, seconds: Double
  ) {
    self.pagesExcluded = pagesExcluded
    self.name = name
    self.mode = mode
    ramBytes = summary.ramBytes
    pagesZero = summary.pagesZero
    pagesNew = summary.pagesNew
    pagesKnown = summary.pagesKnown
    storedBytes = summary.storedBytes
    self.downtimeMilliseconds = downtimeMilliseconds
    self.seconds = seconds
  }
}
