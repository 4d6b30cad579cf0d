// What of a serial port travels.

import Synchronization
public import VMState

extension SerialPort {
  /// The device's section in the machine's state.
  public var vmstate: any VMStateSection {
    VMStateDevice(
      Self.description, instance: UInt32(instance),
      blank: { SerialRegisters() },
      capture: { self.state.withLock { $0.registers } },
      apply: { registers in self.state.withLock { $0.registers = registers } })
  }

  static let description = VMStateDescription<SerialRegisters>(
    name: "serial", version: 1,
    fields: [
      .uint8("ier", \.interruptEnable),
      .uint8("fcr", \.fifoControl),
      .uint8("lcr", \.lineControl),
      .uint8("mcr", \.modemControl),
      .uint8("lsr", \.lineStatus),
      .uint8("msr", \.modemStatus),
      .uint8("scr", \.scratch),
      .uint16("divider", \.divisor),
      .bool("thr_ipending", \.transmitPending),
      .countedBuffer(
        "recv_fifo", \.received, count: "recv_fifo_num", as: UInt8.self,
        limit: SerialRegisters.fifoByteCount),
      .validate("at most one received byte while the FIFOs are off") {
        $0.received.count <= $0.capacity
      },
    ])
}
