// What gives a machine that runs: its memory round by round, and itself at the end.

public import MigrationCore
public import Wire

/// A machine that may run while it is moved to a destination.
///
/// One thread at a time calls what is declared here, apart from the throttle; what is inherited is
/// called by several at once, after the machine was paused. `deviceState` is asked for only after
/// `takeDeviceState()`.
public protocol LiveSourceEndpoint: SourceEndpoint {
  /// Begins to notice what is written, and the first round: everything that has to go.
  func beginRounds() throws

  /// Takes what was written since the last time into what is left to send, and starts over from the
  /// first block.
  ///
  /// - Returns: bytes of memory that were written since the last time, whole pages.
  func sync() throws -> UInt64

  /// Bytes of memory that are left of this round, whole pages.
  var remainingByteCount: UInt64 { get }

  /// Bytes of memory that do not go because nobody needs their content.
  var excludedByteCount: UInt64 { get }

  /// The pages that do not go, for a destination that waits for every page: it is to get zeros.
  func excludedRuns() -> [RAMPageRun]

  /// Takes the next pages to send out of the round, and sees to it that a later write to them is
  /// noticed; nil at the end of the round.
  ///
  /// - Parameter limit: bytes at most, whole pages, at least one.
  func nextRun(limit: Int) throws -> RAMPageRun?

  /// Lends a target page of a run. The guest may write to it meanwhile, which is noticed.
  func lend(_ page: RAMPageAddress) -> LentPage

  /// Puts pages into the round again that the destination turned out not to have; called by any
  /// thread, while others are taken out.
  func putBack(_ run: RAMPageRun)

  /// Slows the machine down; nil lets it run at its own pace.
  func throttle(_ throttle: Throttle?)

  /// Stops the machine, unless it stands; no processor runs when this returns.
  func pause() throws

  /// Takes the state of the devices, the machine being paused; `deviceState` has it afterwards.
  func takeDeviceState() throws -> DeviceState

  /// Ends the noticing of writes; called once, however the move ends.
  func endRounds()
}

/// A page as it lies in a machine's memory; its bytes may change while they are looked at.
@safe
public enum LentPage {
  /// Zeros only.
  case zero
  /// These bytes, valid as long as the endpoint lives.
  case data(UnsafeRawBufferPointer)
}
