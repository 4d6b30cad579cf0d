// The page through which the demonstration's guest speaks and rests when it is in user mode.

import Devices
import Glibc
import GuestMemory

/// A page of registers for a guest in user mode: the serial port's from 0 on, and at 16 a word
/// that takes microseconds to rest.
///
/// It has no state of its own, so nothing of it travels.
final class DemonstrationPage: MMIOHandler {
  static let byteCount: UInt64 = 4096
  private static let restOffset: UInt64 = 16
  /// As long as a processor may rest without looking whether it is to stop.
  private static let longestRest: UInt64 = 10_000

  private let serial: SerialPort

  init(serial: SerialPort) {
    self.serial = serial
  }

  func read(offset: UInt64, byteCount: Int) -> UInt64 {
    guard offset < SerialPort.portCount else { return 0 }
    return UInt64(serial.read(port: UInt16(offset), byteCount: min(byteCount, 4)))
  }

  func write(offset: UInt64, byteCount: Int, value: UInt64) {
    if offset < SerialPort.portCount {
      serial.write(
        port: UInt16(offset), byteCount: min(byteCount, 4),
        value: UInt32(truncatingIfNeeded: value))
    } else if offset == Self.restOffset {
      // A kick is a signal, which ends the rest at once.
      usleep(UInt32(min(value, Self.longestRest)))
    }
  }
}
