// What every device offers the machine that holds it.

public import VMState

/// A device of the machine.
///
/// A device is created quiet: its threads exist but do nothing. The machine calls `resume()` when
/// vCPUs are about to run, and `quiesce()` after they have stopped. Between the two, device and
/// guest memory stand still, so that both can be saved; loading a state is allowed then, too.
public protocol Device: AnyObject, Sendable {
  /// Puts the device into the state it has at power-on. Allowed while it runs and while it is
  /// quiet.
  func reset()

  /// Lets the device's own threads work, raises the interrupt its state calls for, and looks at
  /// queues that a loaded state may have left full.
  func resume()

  /// Returns once no request is under way and none of the device's threads touches its state, the
  /// guest's memory or a backend.
  func quiesce()

  /// The sections that the device's state travels in, to be registered with the machine's others.
  var vmstate: any VMStateSection { get }
}

extension Device {
  /// Lets the device work; see `Device`.
  public func resume() {}
  /// Brings the device to a stand; see `Device`.
  public func quiesce() {}
}
