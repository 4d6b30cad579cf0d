// How a guest asks for a reset: the keyboard controller's command, and the reset control register.

import Synchronization

/// What a guest asks of the machine that holds it.
public enum PowerRequest: Sendable {
  /// To be reset.
  case reset
  /// To be switched off.
  case powerOff
}

/// The keyboard controller's two ports (0x60 and 0x64), without a keyboard.
///
/// Command 0xfe at port 0x64 pulses the processor's reset line; that is the way Linux takes first
/// (`reboot=k`). The status register shows the output buffer full for ever, which is how Linux
/// finds out quickly that there is nothing more ("i8042: No controller found"), and the input
/// buffer empty, so that nobody waits before the reset command.
public final class KeyboardResetPorts: PortHandler {
  /// The port to register it at.
  public static let firstPort: UInt16 = 0x60
  /// How many ports it answers, the ones between its two included.
  public static let portCount: UInt16 = 5

  private let request: @Sendable (PowerRequest) -> Void

  /// Makes the ports; `request` is called on the vCPU's thread and must not wait.
  public init(request: @escaping @Sendable (PowerRequest) -> Void) {
    self.request = request
  }

  /// Answers the guest's input from one of the ports.
  public func read(port offset: UInt16, byteCount: Int) -> UInt32 {
    offset == 4 ? 0xfd : 0
  }

  /// Takes the guest's output to one of the ports.
  public func write(port offset: UInt16, byteCount: Int, value: UInt32) {
    if offset == 4 && value & 0xff == 0xfe { request(.reset) }
  }
}

/// The reset control register at port 0xcf9.
///
/// Setting bit 2 resets the machine; bit 1, which says whether hard or soft, is kept.
public final class ResetControlRegister: Device, PortHandler {
  /// The port to register it at; it is the only one.
  public static let firstPort: UInt16 = 0xcf9
  /// How many ports it answers.
  public static let portCount: UInt16 = 1
  /// What resets the machine when it is written.
  public static let resetValue: UInt8 = 0x06

  struct State: Sendable {
    var value: UInt8 = 0
  }

  let state = Mutex(State())
  private let request: @Sendable (PowerRequest) -> Void

  /// Makes the register; `request` is called on the vCPU's thread and must not wait.
  public init(request: @escaping @Sendable (PowerRequest) -> Void) {
    self.request = request
  }

  /// Answers the guest's input from one of the ports.
  public func read(port offset: UInt16, byteCount: Int) -> UInt32 {
    state.withLock { UInt32($0.value) }
  }

  /// Takes the guest's output to one of the ports.
  public func write(port offset: UInt16, byteCount: Int, value: UInt32) {
    let mustReset = state.withLock { state in
      let before = state.value
      state.value = UInt8(truncatingIfNeeded: value) & 0x0a
      return value & 4 != 0 && before & 4 == 0
    }
    if mustReset { request(.reset) }
  }

  /// Puts the device into its state of power-on.
  public func reset() {
    state.withLock { $0 = State() }
  }
}
