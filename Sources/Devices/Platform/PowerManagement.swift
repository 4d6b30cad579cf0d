// ACPI's fixed hardware: the power button, and the register that switches the machine off.

import Synchronization

/// ACPI's PM1a event and control blocks, at six I/O ports.
///
/// | port | size | register |
/// | --- | --- | --- |
/// | 0x600 | 2 | status: bit 8 is set by the power button, cleared by writing one |
/// | 0x602 | 2 | enable: bit 8 lets the button interrupt |
/// | 0x604 | 2 | control: writing bit 13 switches the machine off; bit 0 reads as one |
///
/// With ACPI tables that name these ports Linux finds all that by itself. Without them a program in
/// the guest switches the machine off by writing 0x20 to port 0x605, the register's high byte. The
/// sleep type does not matter: no state but off is offered.
public final class PowerManagement: Device, PortHandler {
  /// The port to register it at.
  public static let firstPort: UInt16 = 0x600
  /// How many ports it answers.
  public static let portCount: UInt16 = 6
  /// The interrupt that the tables name for it, level-triggered.
  public static let interrupt: UInt8 = 9

  static let powerButton: UInt16 = 1 << 8
  /// Events that can be enabled: timer, global lock, power and sleep button, clock.
  ///
  /// All but the power button never happen here, but drivers see to it that what they enable stays
  /// enabled.
  static let enablable: UInt16 = 1 << 0 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 10
  static let sleepEnable: UInt16 = 1 << 13
  /// The hardware is ACPI's from the beginning, so nothing has to be asked for it.
  static let systemControlEnabled: UInt16 = 1

  struct State: Sendable {
    var status: UInt16 = 0
    var enable: UInt16 = 0
    var control: UInt16 = PowerManagement.systemControlEnabled
  }

  let state = Mutex(State())
  private let line: InterruptLine
  private let request: @Sendable (PowerRequest) -> Void

  /// Makes the registers.
  ///
  /// - Parameters:
  ///   - line: the system control interrupt.
  ///   - request: called on the vCPU's thread when the guest switches itself off; must not wait.
  public init(line: InterruptLine, request: @escaping @Sendable (PowerRequest) -> Void) {
    self.line = line
    self.request = request
  }

  /// Presses the power button.
  ///
  /// - Returns: whether the guest listens to it.
  @discardableResult
  public func pressPowerButton() -> Bool {
    withState { state in
      state.status |= Self.powerButton
      return state.enable & Self.powerButton != 0
    }
  }

  /// Answers the guest's input from one of the ports.
  public func read(port offset: UInt16, byteCount: Int) -> UInt32 {
    withState { state in
      let whole =
        UInt64(state.status) | UInt64(state.enable) << 16 | UInt64(state.control) << 32
      let mask: UInt64 = byteCount >= 4 ? 0xffff_ffff : byteCount == 2 ? 0xffff : 0xff
      return UInt32(truncatingIfNeeded: whole >> UInt64(8 * min(offset, 7)) & mask)
    }
  }

  /// Takes the guest's output to one of the ports.
  public func write(port offset: UInt16, byteCount: Int, value: UInt32) {
    let mustPowerOff = withState { state in
      var mustPowerOff = false
      for index in 0..<min(max(byteCount, 0), 4) {
        let byte = UInt16(truncatingIfNeeded: value >> UInt32(8 * index) & 0xff)
        let port = Int(offset) + index
        let (shifted, kept): (UInt16, UInt16) = port % 2 == 0 ? (byte, 0xff00) : (byte << 8, 0xff)
        switch port / 2 {
        case 0: state.status &= ~shifted
        case 1: state.enable = state.enable & kept | shifted & Self.enablable
        case 2:
          if shifted & Self.sleepEnable != 0 { mustPowerOff = true }
          state.control =
            (state.control & kept | shifted & ~Self.sleepEnable) | Self.systemControlEnabled
        default: break
        }
      }
      return mustPowerOff
    }
    if mustPowerOff { request(.powerOff) }
  }

  /// Puts the device into its state of power-on.
  public func reset() {
    withState { $0 = State() }
  }

  /// Lets the device work; see `Device`.
  public func resume() {
    withState { _ in }
  }

  private func withState<R>(_ body: (inout State) -> R) -> R {
    state.withLock { state in
      let result = body(&state)
      line.set(state.status & state.enable != 0)
      return result
    }
  }
}
