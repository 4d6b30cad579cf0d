// How a guest is reset, switched off, and asked to switch itself off.

import Synchronization
import Testing

@testable import Devices

/// Collects what a guest asks for.
private final class Requests: Sendable {
  let all = Mutex<[PowerRequest]>([])
  var take: @Sendable (PowerRequest) -> Void {
    { request in self.all.withLock { $0.append(request) } }
  }
  var count: Int { all.withLock { $0.count } }
}

struct PowerTests {
  @Test func `the keyboard controller resets, and says there is no keyboard`() {
    let requests = Requests()
    let ports = KeyboardResetPorts(request: requests.take)
    #expect(ports.read(port: 4, byteCount: 1) == 0xfd)
    ports.write(port: 4, byteCount: 1, value: 0x20)
    #expect(requests.count == 0)
    ports.write(port: 4, byteCount: 1, value: 0xfe)
    #expect(requests.all.withLock { $0 } == [.reset])
  }

  @Test func `the reset register resets on its bit alone`() throws {
    let requests = Requests()
    let register = ResetControlRegister(request: requests.take)
    register.write(port: 0, byteCount: 1, value: 0x02)
    #expect(requests.count == 0)
    #expect(register.read(port: 0, byteCount: 1) == 2)
    register.write(port: 0, byteCount: 1, value: 0x06)
    #expect(requests.all.withLock { $0 } == [.reset])
    let other = ResetControlRegister(request: requests.take)
    try move(from: register, to: other)
    #expect(other.read(port: 0, byteCount: 1) == 2)
  }

  @Test func `writing the sleep bit switches the machine off`() {
    let requests = Requests()
    let power = PowerManagement(line: LineProbe().line, request: requests.take)
    #expect(power.read(port: 4, byteCount: 2) == 1, "the hardware is ACPI's")
    power.write(port: 4, byteCount: 2, value: 5 << 10)
    #expect(requests.count == 0)
    power.write(port: 4, byteCount: 2, value: 5 << 10 | 1 << 13)
    power.write(port: 5, byteCount: 1, value: 0x20)
    #expect(requests.all.withLock { $0 } == [.powerOff, .powerOff])
    #expect(power.read(port: 4, byteCount: 2) & 1 << 13 == 0)
  }

  @Test func `the power button interrupts whoever listens, until it is acknowledged`() throws {
    let probe = LineProbe()
    let power = PowerManagement(line: probe.line) { _ in }
    #expect(!power.pressPowerButton())
    #expect(!probe.level)
    power.write(port: 2, byteCount: 2, value: 0x0120)
    #expect(probe.level)
    #expect(power.read(port: 0, byteCount: 4) == 0x0120_0100)
    let other = LineProbe()
    let target = PowerManagement(line: other.line) { _ in }
    try move(from: power, to: target)
    target.resume()
    #expect(other.level)
    power.write(port: 0, byteCount: 2, value: 0x0100)
    #expect(!probe.level)
    #expect(power.pressPowerButton())
  }
}
