// What the demonstration measured, step by step.

/// The outcome of a demonstration: one row per thing that was shown.
public struct DemonstrationReport: Sendable {
  /// One thing that was done to the guest.
  public struct Step: Sendable {
    /// What was done (`save, live`).
    public var title: String
    /// How long the guest stood still, in milliseconds; nil where it did not run before.
    public var downtimeMilliseconds: Double?
    /// The longest pause that the guest itself noticed around a move, in milliseconds of its own
    /// clock; nil for everything else.
    public var gapMilliseconds: Double?
    /// From the connection to the guest running, in milliseconds; nil for a save.
    public var runningMilliseconds: Double?
    /// Bytes the store grew by; nil for a restore.
    public var storedBytes: UInt64?
    /// Bytes that a move sent; nil for everything else.
    public var sentBytes: UInt64?
    /// Pages the guest has checked itself since, and found right; nil for a save.
    public var pagesChecked: UInt64?
    /// How long the step took, in seconds.
    public var seconds: Double

    init(
      title: String, downtimeMilliseconds: Double? = nil, gapMilliseconds: Double? = nil,
      runningMilliseconds: Double? = nil, storedBytes: UInt64? = nil, sentBytes: UInt64? = nil,
      pagesChecked: UInt64? = nil, seconds: Double
    ) {
      self.title = title
      self.downtimeMilliseconds = downtimeMilliseconds
      self.gapMilliseconds = gapMilliseconds
      self.runningMilliseconds = runningMilliseconds
      self.storedBytes = storedBytes
      self.sentBytes = sentBytes
      self.pagesChecked = pagesChecked
      self.seconds = seconds
    }
  }

  /// The QEMU that was used, with its version; nil where there was none and its part was left out.
  public var qemu: String?
  /// What ran Godwit's own machines: `kvm`, or `synthetic`, where a thread of the host does the
  /// guest's work.
  public var accelerator: String
  /// Bytes of the guest's memory.
  public var memoryBytes: UInt64
  /// The steps, in the order in which they were done.
  public var steps: [Step] = []
  /// What the way back sent, as a share of what the way there did.
  public var returnShare: Double?
  /// Pages of both checkpoints that were read back from the store and matched their hashes.
  public var pagesVerified: UInt64 = 0
  /// Pages that any guest found wrong; a demonstration where that is not 0 fails.
  public var pagesBad: UInt64 = 0
  /// How long everything took, in seconds.
  public var seconds: Double = 0
}
