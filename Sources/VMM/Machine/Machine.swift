// A machine: what it is made of, and what can be asked of it.

/// A virtual machine in this process.
///
/// Its methods may be called from any thread but those of its processors; they block for the
/// milliseconds that stopping the processors takes.
public final class Machine: Sendable {
  /// What it was asked to be.
  public let configuration: MachineConfiguration
  /// What runs its processors.
  public let accelerator: any Accelerator
  let life: MachineLife

  /// Puts a machine together from its parts.
  init(
    configuration: MachineConfiguration, accelerator: any Accelerator, life: MachineLife
  ) {
    self.configuration = configuration
    self.accelerator = accelerator
    self.life = life
  }

  /// What the machine is doing.
  public var runState: RunState { life.runState }

  /// Calls `observer` with everything that happens from now on, in order, on the thread that makes
  /// it happen; it must neither block nor call the machine.
  ///
  /// - Returns: what ``removeObserver(_:)`` takes.
  public func observe(_ observer: @escaping @Sendable (MachineEvent) -> Void) -> Int {
    life.observe(observer)
  }

  /// Ends an observation.
  public func removeObserver(_ number: Int) {
    life.removeObserver(number)
  }

  /// Waits until the machine has ended, by `quit` or by its guest.
  public func waitUntilEnd() -> MachineEnd {
    life.waitUntilEnd()
  }

  /// Why the machine's state is ``RunState/internalError``, or why its end was forced; nil where
  /// nothing went wrong.
  public var trouble: String? { life.trouble }

  /// Puts processors, devices and boot images into their first state; no processor runs.
  func resetParts() throws(MachineError) {
    try accelerator.reset(to: .resetVector)
  }

  /// Raises the power button's event.
  func pressPowerButton() {}
}
