// A 16550A serial port: registers towards the guest, a channel towards the host.

import Synchronization

/// A 16550A UART with its FIFOs, at eight I/O ports.
///
/// Linux drives it as `ttyS0` (ports 0x3f8 to 0x3ff, interrupt 4).
public final class SerialPort: Device, PortHandler {
  /// How many I/O ports it answers.
  public static let portCount: UInt16 = 8

  struct State: Sendable {
    var registers = SerialRegisters()
    /// The level the line was last set to; not part of what travels.
    var lineLevel = false
  }

  let state = Mutex(State())
  let instance: Int
  private let line: InterruptLine
  private let channel: CharacterChannel

  /// Opens a port's backend and makes the port.
  ///
  /// - Parameters:
  ///   - backend: where its bytes go to and come from.
  ///   - line: its interrupt.
  ///   - instance: 0 for the machine's first port, 1 for the next.
  public convenience init(
    backend: CharacterBackend, line: InterruptLine, instance: Int = 0
  ) throws(DeviceError) {
    try self.init(channel: CharacterChannel(backend), line: line, instance: instance)
  }

  init(channel: CharacterChannel, line: InterruptLine, instance: Int = 0) throws(DeviceError) {
    self.channel = channel
    self.line = line
    self.instance = instance
    try channel.attach(self, name: "serial\(instance)")
  }

  /// Answers the guest's input from one of the ports.
  public func read(port offset: UInt16, byteCount: Int) -> UInt32 {
    var value: UInt32 = 0
    let (hadRoom, hasRoom) = withRegisters { registers in
      let before = registers.inputRoom
      for index in 0..<min(max(byteCount, 0), 4) {
        value |= UInt32(registers.read(offset &+ UInt16(index))) << UInt32(8 * index)
      }
      return (before, registers.inputRoom)
    }
    if hasRoom > 0 && hadRoom == 0 { channel.inputRoomGrew() }
    return value
  }

  /// Takes the guest's output to one of the ports.
  public func write(port offset: UInt16, byteCount: Int, value: UInt32) {
    for index in 0..<min(max(byteCount, 0), 4) {
      let byte = UInt8(truncatingIfNeeded: value >> UInt32(8 * index))
      let roomGrew = withRegisters { registers in
        let before = registers.inputRoom
        if let sent = registers.write(offset &+ UInt16(index), byte) {
          channel.send([sent])
          if channel.isCongested { registers.setTransmitterReady(false) }
        }
        return before == 0 && registers.inputRoom > 0
      }
      if roomGrew { channel.inputRoomGrew() }
    }
  }

  /// Puts the device into its state of power-on.
  public func reset() {
    withRegisters { $0 = SerialRegisters() }
    channel.inputRoomGrew()
  }

  /// Lets the device work; see `Device`.
  public func resume() {
    state.withLock { state in
      // A loaded state may have waited for a backend that was another one then.
      if !channel.isCongested { state.registers.setTransmitterReady(true) }
      state.lineLevel = state.registers.isInterrupting
      line.set(state.lineLevel)
    }
    channel.resume()
  }

  /// Brings the device to a stand; see `Device`.
  public func quiesce() {
    channel.quiesce()
  }

  /// Works on the registers and sets the line to the level that follows.
  private func withRegisters<R>(_ body: (inout SerialRegisters) -> R) -> R {
    state.withLock { state in
      let result = body(&state.registers)
      let level = state.registers.isInterrupting
      if level != state.lineLevel {
        state.lineLevel = level
        line.set(level)
      }
      return result
    }
  }
}

extension SerialPort: CharacterReceiver {
  var inputRoom: Int { state.withLock { $0.registers.inputRoom } }

  func receive(_ bytes: [UInt8]) {
    withRegisters { $0.receive(bytes) }
  }

  func outputResumed() {
    withRegisters { $0.setTransmitterReady(true) }
  }
}
