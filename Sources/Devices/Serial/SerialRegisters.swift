// The registers of a 16550A, as a state machine without I/O.

/// What a 16550A knows, and how it answers its eight ports.
///
/// Time plays no part: a byte is sent the moment it is written, unless whoever takes it asks for a
/// pause, and a receive FIFO that holds fewer bytes than its trigger level reports a time-out at
/// once. The FIFOs are sixteen bytes, as the part's data sheet has them.
struct SerialRegisters: Sendable, Equatable {
  static let fifoByteCount = 16

  // Interrupt enable register.
  static let receiveEnable: UInt8 = 1
  static let transmitEnable: UInt8 = 2
  static let lineEnable: UInt8 = 4
  static let modemEnable: UInt8 = 8
  // Interrupt identification.
  static let none: UInt8 = 0x01
  static let lineCause: UInt8 = 0x06
  static let receiveCause: UInt8 = 0x04
  static let timeoutCause: UInt8 = 0x0c
  static let transmitCause: UInt8 = 0x02
  static let modemCause: UInt8 = 0x00
  // FIFO control, line control, modem control.
  static let fifoEnable: UInt8 = 1
  static let clearReceive: UInt8 = 2
  static let clearTransmit: UInt8 = 4
  static let divisorAccess: UInt8 = 0x80
  static let loopback: UInt8 = 0x10
  // Line status.
  static let dataReady: UInt8 = 0x01
  static let overrun: UInt8 = 0x02
  static let lineErrors: UInt8 = 0x1e
  static let transmitEmpty: UInt8 = 0x60
  /// Clear to send, data set ready, carrier detect: somebody is at the other end.
  static let connected: UInt8 = 0xb0

  var interruptEnable: UInt8 = 0
  var fifoControl: UInt8 = 0
  var lineControl: UInt8 = 0
  var modemControl: UInt8 = 0x08
  var lineStatus: UInt8 = SerialRegisters.transmitEmpty
  var modemStatus: UInt8 = SerialRegisters.connected
  var scratch: UInt8 = 0
  var divisor: UInt16 = 12
  /// The transmit-empty interrupt waits to be taken.
  var transmitPending = false
  /// Bytes that came and were not read, oldest first; at most 16.
  var received: [UInt8] = []

  var hasFIFO: Bool { fifoControl & Self.fifoEnable != 0 }
  var isLoopback: Bool { modemControl & Self.loopback != 0 }
  var capacity: Int { hasFIFO ? Self.fifoByteCount : 1 }
  /// How many bytes of input there is room for.
  var inputRoom: Int { isLoopback ? 0 : max(0, capacity - received.count) }
  var triggerLevel: Int { hasFIFO ? [1, 4, 8, 14][Int(fifoControl >> 6)] : 1 }

  /// The most urgent cause that is enabled, as the identification register shows it.
  var cause: UInt8 {
    if interruptEnable & Self.lineEnable != 0 && lineStatus & Self.lineErrors != 0 {
      return Self.lineCause
    }
    if interruptEnable & Self.receiveEnable != 0 && !received.isEmpty {
      return received.count >= triggerLevel ? Self.receiveCause : Self.timeoutCause
    }
    if interruptEnable & Self.transmitEnable != 0 && transmitPending { return Self.transmitCause }
    if interruptEnable & Self.modemEnable != 0 && modemStatus & 0x0f != 0 {
      return Self.modemCause
    }
    return Self.none
  }

  /// Whether the interrupt line is high.
  var isInterrupting: Bool { cause != Self.none }

  /// Reads a register, with the effects that reading has.
  mutating func read(_ register: UInt16) -> UInt8 {
    let isDivisor = lineControl & Self.divisorAccess != 0
    switch register & 7 {
    case 0: return isDivisor ? UInt8(truncatingIfNeeded: divisor) : takeReceived()
    case 1: return isDivisor ? UInt8(truncatingIfNeeded: divisor >> 8) : interruptEnable
    case 2:
      let cause = cause
      if cause == Self.transmitCause { transmitPending = false }
      return cause | (hasFIFO ? 0xc0 : 0)
    case 3: return lineControl
    case 4: return modemControl
    case 5:
      defer { lineStatus &= ~Self.lineErrors }
      return lineStatus | (received.isEmpty ? 0 : Self.dataReady)
    case 6:
      if isLoopback { return Self.loopedStatus(of: modemControl) }
      defer { modemStatus &= 0xf0 }
      return modemStatus
    default: return scratch
    }
  }

  /// Writes a register; the byte that is to be sent, if that is what the write means.
  mutating func write(_ register: UInt16, _ value: UInt8) -> UInt8? {
    let isDivisor = lineControl & Self.divisorAccess != 0
    switch register & 7 {
    case 0 where isDivisor: divisor = divisor & 0xff00 | UInt16(value)
    case 0: return transmit(value)
    case 1 where isDivisor: divisor = divisor & 0x00ff | UInt16(value) << 8
    case 1:
      let newlyEnabled = value & ~interruptEnable
      interruptEnable = value & 0x0f
      // Drivers rely on the interrupt that comes at once when an empty transmitter is enabled.
      if newlyEnabled & Self.transmitEnable != 0 && lineStatus & Self.transmitEmpty != 0 {
        transmitPending = true
      }
    case 2: writeFIFOControl(value)
    case 3: lineControl = value
    case 4: modemControl = value & 0x1f
    case 5, 6: break  // Status registers; writing them is for the factory.
    default: scratch = value
    }
    return nil
  }

  /// Takes input from outside; the caller offers no more than there is room for.
  mutating func receive(_ bytes: [UInt8]) {
    for byte in bytes {
      guard received.count < capacity else {
        lineStatus |= Self.overrun
        return
      }
      received.append(byte)
    }
  }

  /// Says whether the other end takes more output now.
  mutating func setTransmitterReady(_ isReady: Bool) {
    guard isReady else {
      lineStatus &= ~Self.transmitEmpty
      transmitPending = false
      return
    }
    if lineStatus & Self.transmitEmpty == 0 { transmitPending = true }
    lineStatus |= Self.transmitEmpty
  }

  private mutating func takeReceived() -> UInt8 {
    received.isEmpty ? 0 : received.removeFirst()
  }

  private mutating func transmit(_ value: UInt8) -> UInt8? {
    // The transmitter is empty again at once, which is a new reason for its interrupt.
    transmitPending = true
    guard isLoopback else { return value }
    receive([value])
    return nil
  }

  private mutating func writeFIFOControl(_ value: UInt8) {
    let changes = (value ^ fifoControl) & Self.fifoEnable != 0
    if changes || value & Self.clearReceive != 0 { received = [] }
    if changes || value & Self.clearTransmit != 0 {
      transmitPending = lineStatus & Self.transmitEmpty != 0
    }
    fifoControl = value & 0xc9
    if !hasFIFO { fifoControl = 0 }
  }

  /// In loopback the four modem outputs are wired to the four inputs.
  private static func loopedStatus(of control: UInt8) -> UInt8 {
    (control & 0x02) << 3 | (control & 0x01) << 5 | (control & 0x0c) << 4
  }
}
