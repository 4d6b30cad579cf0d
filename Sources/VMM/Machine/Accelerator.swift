// The interface between a machine and what runs its processors.

public import MigrationCore

/// What runs a machine's processors.
///
/// All calls come from one thread at a time: the machine holds a lock around them. No call may be
/// made from a processor's own thread.
public protocol Accelerator: AnyObject, Sendable {
  /// Which one it is.
  var kind: AcceleratorKind { get }

  /// How many processors it runs.
  var processorCount: Int { get }

  /// The kernel's numbers of the threads that run them, in order.
  var threadIdentifiers: [Int32] { get }

  /// Lets all processors run.
  func resume()

  /// Stops all processors; when it returns, none runs guest code or touches guest memory.
  func pause()

  /// Puts all processors into the state that the boot plan asks for; only while paused.
  func reset(to start: ProcessorStart) throws(MachineError)

  /// Slows all processors down, by QEMU's means; nil lets them run at their own pace.
  ///
  /// May be called at any time, by any thread.
  func throttle(_ throttle: Throttle?)

  /// Whether each processor can be held to a rate of writing
  /// (``Throttle/dirtyRate(bytesPerSecond:)``).
  var limitsDirtyRate: Bool { get }

  /// Ends the threads of all processors; nothing may be called afterwards.
  func end()
}
