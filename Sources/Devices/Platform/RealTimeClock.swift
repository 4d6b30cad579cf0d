// The machine's battery-backed clock, an MC146818.

import Synchronization

/// An MC146818 real-time clock with 128 bytes of CMOS, at two I/O ports.
///
/// Its time is the host's, in UTC, until the guest sets it. Linux expects it at ports 0x70 and 0x71
/// with interrupt 8.
public final class RealTimeClock: Device, PortHandler {
  /// How many I/O ports it answers: the index, then the data.
  public static let portCount: UInt16 = 2

  struct State: Sendable {
    var registers: ClockRegisters
    /// The level the line was last set to; not part of what travels.
    var lineLevel = false
  }

  let state: Mutex<State>
  private let line: InterruptLine
  private let clock: @Sendable () -> WallTime
  private let thread: DeviceThread

  /// Makes a clock that shows the host's time.
  ///
  /// - Parameters:
  ///   - line: its interrupt.
  ///   - contents: bytes of the CMOS beyond the clock's own fourteen, by index (14 to 127).
  public convenience init(
    line: InterruptLine, contents: [Int: UInt8] = [:]
  ) throws(DeviceError) {
    try self.init(line: line, contents: contents, clock: { HostClock.now })
  }

  init(
    line: InterruptLine, contents: [Int: UInt8] = [:],
    clock: @escaping @Sendable () -> WallTime
  ) throws(DeviceError) {
    self.line = line
    self.clock = clock
    var registers = ClockRegisters(now: clock())
    for (index, byte) in contents where (14..<ClockRegisters.byteCount).contains(index) {
      registers.bytes[index] = byte
    }
    state = Mutex(State(registers: registers))
    thread = try DeviceThread()
    try thread.start(name: "rtc") { [weak self] in self?.step() }
  }

  deinit { thread.end() }

  /// Answers the guest's input from one of the ports.
  public func read(port offset: UInt16, byteCount: Int) -> UInt32 {
    let (value, mayRing) = withRegisters { registers, now in
      if offset == 0 { return (registers.index, false) }
      return (registers.read(now: now), registers.index == ClockRegisters.flagIndex)
    }
    // The next interrupt is waited for only when the last one was taken.
    if mayRing { thread.kick() }
    return UInt32(value)
  }

  /// Takes the guest's output to one of the ports.
  public func write(port offset: UInt16, byteCount: Int, value: UInt32) {
    let byte = UInt8(truncatingIfNeeded: value)
    let mayRing = withRegisters { registers, now in
      guard offset != 0 else {
        // The top bit masks non-maskable interrupts on a PC, of which there are none here.
        registers.index = byte & 0x7f
        return false
      }
      registers.write(byte, now: now)
      return registers.index < 14
    }
    if mayRing { thread.kick() }
  }

  /// Puts the device into its state of power-on.
  public func reset() {
    withRegisters { registers, _ in registers.reset() }
  }

  /// Lets the device work; see `Device`.
  public func resume() {
    state.withLock { state in
      state.registers.review(now: clock())
      state.lineLevel = state.registers.isInterrupting
      line.set(state.lineLevel)
    }
    thread.release()
  }

  /// Brings the device to a stand; see `Device`.
  public func quiesce() {
    thread.hold()
  }

  private func withRegisters<R>(_ body: (inout ClockRegisters, WallTime) -> R) -> R {
    state.withLock { state in
      let result = body(&state.registers, clock())
      let level = state.registers.isInterrupting
      if level != state.lineLevel {
        state.lineLevel = level
        line.set(level)
      }
      return result
    }
  }

  /// Looks what is due, and sleeps until something is.
  private func step() -> ThreadWait {
    let due = withRegisters { registers, now in
      registers.review(now: now)
      return registers.nanosecondsToInterrupt(now: now)
    }
    return ThreadWait(timeout: due.map { .nanoseconds($0) })
  }
}
