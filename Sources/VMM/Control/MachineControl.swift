// What the control plane asks of a machine. The machine implements it; the commands of QMP, the
// human monitor's and the dumps know no more of it, so that tests have a machine of their own.

public import GuestMemory

/// A machine, as far as it can be controlled.
///
/// Calls come from the server's one thread for commands, those marked *any thread* excepted. What
/// cannot be done is refused by a ``MachineError``, whose sentence the client reads.
public protocol MachineControl: AnyObject, Sendable {
  /// What the machine was made with; fixed for its life.
  var facts: MachineFacts { get }

  /// Calls `observer` with everything that happens from now on, in order, on the thread that makes
  /// it happen; it neither blocks nor calls the machine.
  func observe(_ observer: @escaping @Sendable (MachineEvent) -> Void) -> Int

  /// Ends an observation.
  func removeObserver(_ number: Int)

  /// What the machine is doing; any thread, without waiting for one that is being stopped.
  var runState: RunState { get }

  /// Stops the vCPUs: none runs when this returns.
  ///
  /// A machine that waits for its state will not run by itself once it has it.
  func stop() throws(MachineError)

  /// Lets the vCPUs run; a machine that waits for its state will run by itself once it has it.
  func cont() throws(MachineError)

  /// Presses the reset button: processors and devices are as at power-on.
  func reset() throws(MachineError)

  /// Presses the power button, on which the guest may act.
  func powerDown()

  /// Ends the machine; whoever waits for its end gives the server time to send what it owes.
  func quit(_ reason: MachineEvent.ShutdownReason)

  /// The vCPUs, in order.
  var processors: [ProcessorFacts] { get }

  /// The registers of a vCPU, which is interrupted for it where it runs.
  /// - Parameter index: as in ``processors``.
  func registers(ofProcessor index: Int) throws(MachineError) -> ProcessorRegisters

  /// The RAM blocks, in the order in which they migrate.
  var ramBlocks: [RAMBlockFacts] { get }

  /// What the guest sees at its physical addresses: ranges in ascending order that do not overlap.
  var memoryMap: [MappedRange] { get }

  /// The regions as they are nested, outermost first; a parent stands before what it contains.
  var memoryTree: [NestedRegion] { get }

  /// Copies guest memory; any thread.
  /// - Parameters:
  ///   - address: the first byte; the whole range must lie in RAM or ROM of the memory map.
  ///   - byteCount: at least 1, at most 1 MiB.
  /// - Returns: the bytes as they are now; a running guest may change them meanwhile.
  func readMemory(at address: GuestAddress, byteCount: Int) throws(MachineError) -> [UInt8]

  /// The disks.
  var blockDevices: [BlockDeviceFacts] { get }

  /// The balloon; nil where there is none.
  var balloon: BalloonFacts? { get }

  /// Asks the guest to shrink or grow to so many bytes.
  func setBalloon(targetByteCount: UInt64) throws(MachineError)

  /// Has the guest asked for its memory's statistics at that interval; nil asks no more.
  func pollBalloonStatistics(every interval: Duration?)

  /// How the machine finds out which pages its guest writes.
  var dirtyTracking: DirtyTrackingFacts { get }

  /// Counts the pages that the guest writes in a period; blocks the calling thread for it, any
  /// thread.
  ///
  /// Never called twice at a time. The guest keeps running; a migration's own log is not disturbed.
  func countDirtyPages(
    during period: Duration, by means: DirtyCounting
  ) throws(MachineError) -> DirtyPageCount

  /// Moving the machine.
  var migration: any MachineMigration { get }
}
