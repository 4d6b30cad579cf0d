// What the control plane asks of a machine. The machine implements it; the commands of QMP, the
// human monitor's and the dumps are written against it alone, and tests against a machine of theirs.

public import GuestMemory
public import QMP

/// A machine, as far as it can be controlled.
///
/// Calls come from the server's one thread for commands, those marked *any thread* excepted. What
/// cannot be done is refused with a sentence in ``QMP/QMPRefusal``.
public protocol MachineControl: AnyObject, Sendable {
  /// What the machine was made with; fixed for its life.
  var facts: MachineFacts { get }

  /// Where the machine reports what happens to it.
  var events: MachineEvents { get }

  /// Whether it runs, and why not; any thread.
  var runState: QMPRunState { get }

  /// Stops the vCPUs: none runs when this returns, and `STOP` has been reported if one ran.
  ///
  /// In the state `inmigrate` it takes back the order to run on arrival instead.
  func stop() throws(QMPRefusal)

  /// Lets the vCPUs run (`cont`), and reports `RESUME` if they did not.
  ///
  /// In the state `inmigrate` it orders the machine to run on arrival instead.
  func proceed() throws(QMPRefusal)

  /// Presses the reset button: processors and devices are as at power-on; reports `RESET`.
  func reset() throws(QMPRefusal)

  /// Presses the power button; reports `POWERDOWN`, and the guest may act on it.
  func pressPowerButton() throws(QMPRefusal)

  /// Ends the machine after this call has returned: reports `SHUTDOWN` at once, and gives the
  /// server time to send what it owes.
  func quit()

  /// The vCPUs, in order.
  var processors: [ProcessorFacts] { get }

  /// The registers of a vCPU, which is interrupted for it where it runs.
  /// - Parameter index: as in ``processors``.
  func registers(ofProcessor index: Int) throws(QMPRefusal) -> ProcessorRegisters

  /// The RAM blocks, in the order in which they migrate.
  var ramBlocks: [RAMBlockFacts] { get }

  /// What the guest sees at its physical addresses: ranges in ascending order that do not overlap.
  var memoryMap: [MemoryMapEntry] { get }

  /// The regions as they are nested, outermost first; a parent stands before what it contains.
  var memoryTree: [MemoryTreeEntry] { get }

  /// Copies guest memory.
  /// - Parameters:
  ///   - address: the first byte; the whole range must lie in RAM or ROM of the memory map.
  ///   - byteCount: at least 1, at most 1 MiB.
  /// - Returns: the bytes as they are now; a running guest may change them meanwhile.
  func readMemory(at address: GuestAddress, byteCount: Int) throws(QMPRefusal) -> [UInt8]

  /// The disks.
  var blockDevices: [BlockDeviceFacts] { get }

  /// The balloon; nil where there is none.
  var balloon: BalloonFacts? { get }

  /// Asks the guest to shrink or grow to so many bytes.
  func setBalloon(targetByteCount: UInt64) throws(QMPRefusal)

  /// How the machine finds out which pages its guest writes.
  var dirtyTracking: DirtyTrackingFacts { get }

  /// Counts the pages that the guest writes in a period; blocks the calling thread for it, any
  /// thread.
  ///
  /// Never called twice at a time. The guest keeps running; a migration's own log is not disturbed.
  func countDirtyPages(
    during period: Duration, by means: DirtyCounting
  ) throws(QMPRefusal) -> DirtyPageCount

  /// Moving the machine.
  var migration: any MachineMigration { get }
}
