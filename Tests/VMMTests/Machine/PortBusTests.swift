// Ports go to their devices, and nowhere else.

import Devices
import Synchronization
import Testing

@testable import VMM

struct PortBusTests {
  /// A device that remembers what was written to it.
  private final class Recorder: PortHandler {
    let written = Mutex<[UInt32]>([])

    func read(port offset: UInt16, byteCount: Int) -> UInt32 { UInt32(offset) + 0x40 }

    func write(port offset: UInt16, byteCount: Int, value: UInt32) {
      written.withLock { $0.append(UInt32(offset) << 16 | value) }
    }
  }

  @Test func `an access reaches the device of its port with the port's offset`() {
    let (low, high) = (Recorder(), Recorder())
    var bus = PortBus()
    bus.add(high, at: 0xFFF8, count: 8)
    bus.add(low, at: 0x60, count: 5)
    bus.write(0x64, byteCount: 1, value: 7)
    #expect(low.written.withLock { $0 } == [0x4_0007])
    #expect(bus.read(0xFFFF, byteCount: 1) == 0x47)
    #expect(high.written.withLock { $0 }.isEmpty)
  }

  @Test func `a port of nobody reads as ones and swallows what is written`() {
    let bus = PortBus()
    #expect(bus.read(0x80, byteCount: 1) == 0xFF)
    #expect(bus.read(0x80, byteCount: 2) == 0xFFFF)
    #expect(bus.read(0x80, byteCount: 4) == 0xFFFF_FFFF)
    bus.write(0x80, byteCount: 1, value: 1)
  }
}
