// The serial port: what drivers find out about it, and bytes both ways.

import Glibc
import Synchronization
import Testing
import Transport

@testable import Devices

struct SerialRegistersTests {
  @Test func `a driver's probe finds a 16550A`() {
    var registers = SerialRegisters()
    _ = registers.write(7, 0xa5)
    #expect(registers.read(7) == 0xa5)
    _ = registers.write(2, 0x01)
    #expect(registers.read(2) == 0xc1, "FIFOs work, nothing pending")
    _ = registers.write(2, 0xe1)
    #expect(registers.read(2) & 0x20 == 0, "not the FIFOs of a 16750")
    #expect(registers.read(5) == 0x60)
  }

  @Test func `loopback wires the modem's outputs to its inputs`() {
    var registers = SerialRegisters()
    _ = registers.write(4, 0x1a)
    #expect(registers.read(6) & 0xf0 == 0x90)
    #expect(registers.write(0, 0x42) == nil, "nothing leaves the chip")
    #expect(registers.read(5) & 1 == 1)
    #expect(registers.read(0) == 0x42)
  }

  @Test func `enabling the transmitter's interrupt raises it at once, and asking takes it`() {
    var registers = SerialRegisters()
    #expect(!registers.isInterrupting)
    _ = registers.write(1, 2)
    #expect(registers.isInterrupting)
    #expect(registers.read(2) == 0x02)
    #expect(!registers.isInterrupting)
    #expect(registers.write(0, 0x41) == 0x41)
    #expect(registers.cause == SerialRegisters.transmitCause)
  }

  @Test func `input below the trigger level is reported as a time-out`() {
    var registers = SerialRegisters()
    _ = registers.write(2, 0x81)
    _ = registers.write(1, 1)
    registers.receive([1, 2, 3])
    #expect(registers.cause == SerialRegisters.timeoutCause)
    registers.receive([4, 5, 6, 7, 8])
    #expect(registers.cause == SerialRegisters.receiveCause)
    #expect(registers.inputRoom == 8)
    #expect((0..<8).map { _ in registers.read(0) } == [1, 2, 3, 4, 5, 6, 7, 8])
    #expect(!registers.isInterrupting)
  }

  @Test func `a byte too many is an overrun, told once`() {
    var registers = SerialRegisters()
    _ = registers.write(1, 4)
    registers.receive([1, 2])
    #expect(registers.cause == SerialRegisters.lineCause)
    #expect(registers.read(5) & 2 == 2)
    #expect(registers.read(5) & 2 == 0)
  }

  @Test func `the divisor is behind its bit`() {
    var registers = SerialRegisters()
    _ = registers.write(3, 0x83)
    _ = registers.write(0, 0x01)
    _ = registers.write(1, 0x02)
    #expect(registers.divisor == 0x0201)
    #expect(registers.read(0) == 1 && registers.read(1) == 2)
    _ = registers.write(3, 0x03)
    #expect(registers.interruptEnable == 0)
  }

  @Test func `no sequence of accesses traps`() {
    var numbers = SeededNumbers(seed: 7)
    var registers = SerialRegisters()
    for _ in 0..<20_000 {
      let value = UInt8.random(in: 0...255, using: &numbers)
      switch value % 3 {
      case 0: _ = registers.read(UInt16(value >> 2))
      case 1: _ = registers.write(UInt16.random(in: 0...8, using: &numbers), value)
      default: registers.receive([UInt8](repeating: value, count: Int(value % 20)))
      }
      #expect(registers.received.count <= 16)
    }
  }
}

struct SerialPortTests {
  /// The other end of a port.
  private final class Peer {
    let descriptor: OwnedDescriptor
    var raw: Int32 { descriptor.raw }
    init(_ descriptor: consuming OwnedDescriptor) { self.descriptor = descriptor }
  }

  /// A port whose other end is a socket.
  private func connected() throws -> (SerialPort, Peer, LineProbe) {
    var pair = try SocketPair()
    let probe = LineProbe()
    let port = try SerialPort(
      channel: CharacterChannel(port: CharacterPort(adopting: pair.take())), line: probe.line)
    return (port, Peer(pair.take()), probe)
  }

  @Test func `bytes go out and come in`() throws {
    let (port, peer, probe) = try connected()
    port.resume()
    defer { port.quiesce() }
    for byte in Array("hello".utf8) { port.write(port: 0, byteCount: 1, value: UInt32(byte)) }
    var text = [UInt8](repeating: 0, count: 16)
    #expect(read(peer.raw, &text, 16) == 5)
    #expect(text.prefix(5) == Array("hello".utf8)[...])

    port.write(port: 2, byteCount: 1, value: 1)
    port.write(port: 1, byteCount: 1, value: 1)
    let input = (0..<100).map { UInt8($0) }
    #expect(write(peer.raw, input, 100) == 100)
    var received: [UInt8] = []
    eventually("all input") {
      while port.read(port: 5, byteCount: 1) & 1 == 1 {
        received.append(UInt8(port.read(port: 0, byteCount: 1)))
      }
      return received.count == 100
    }
    #expect(received == input)
    #expect(probe.riseCount > 0)
    #expect(!probe.level)
  }

  @Test func `a peer that never reads holds nobody up`() throws {
    let (port, peer, probe) = try connected()
    _ = peer.raw
    port.resume()
    port.write(port: 1, byteCount: 1, value: 2)
    let start = ContinuousClock.now
    // Far more than the socket and the channel keep.
    for _ in 0..<400_000 {
      port.write(port: 0, byteCount: 1, value: 0x55)
      if port.read(port: 5, byteCount: 1) & 0x20 == 0 { break }
    }
    #expect(port.read(port: 5, byteCount: 1) & 0x20 == 0, "the guest is asked to wait")
    #expect(!probe.level)
    eventually("the guest is let go on") { port.read(port: 5, byteCount: 1) & 0x20 != 0 }
    #expect(probe.level, "and told so")
    port.quiesce()
    #expect(ContinuousClock.now - start < .seconds(20))
  }

  @Test func `a port moves with bytes in its FIFO`() throws {
    let (source, peer, _) = try connected()
    source.resume()
    source.write(port: 3, byteCount: 1, value: 0x83)
    source.write(port: 0, byteCount: 1, value: 1)
    source.write(port: 3, byteCount: 1, value: 0x03)
    source.write(port: 2, byteCount: 1, value: 0x41)
    source.write(port: 1, byteCount: 1, value: 0x05)
    #expect(write(peer.raw, [9, 8, 7] as [UInt8], 3) == 3)
    eventually("input") { source.inputRoom == 13 }
    source.quiesce()
    let probe = LineProbe()
    let target = try SerialPort(backend: .none, line: probe.line)
    try move(from: source, to: target)
    #expect(!probe.level)
    target.resume()
    #expect(probe.level, "the interrupt that waited is raised")
    #expect((0..<3).map { _ in target.read(port: 0, byteCount: 1) } == [9, 8, 7])
  }

  @Test func `a file takes the output`() throws {
    let path = "/tmp/godwit-serial-\(getpid())"
    defer { unlink(path) }
    let port = try SerialPort(backend: .file(path: path), line: LineProbe().line)
    port.resume()
    for byte in Array("to a file\n".utf8) {
      port.write(port: 0, byteCount: 1, value: UInt32(byte))
    }
    port.quiesce()
    let file = open(path, O_RDONLY)
    defer { close(file) }
    var text = [UInt8](repeating: 0, count: 32)
    #expect(read(file, &text, 32) == 10)
  }

  @Test func `a client connects to a socket, leaves and comes again`() throws {
    let path = "/tmp/godwit-serial-\(getpid()).sock"
    let port = try SerialPort(backend: .unix(path: path), line: LineProbe().line)
    port.resume()
    defer { port.quiesce() }
    port.write(port: 0, byteCount: 1, value: 0x21)  // nobody hears it
    for round in 0..<2 {
      let client = try connect(to: path)
      #expect(write(client.raw, [UInt8(round)], 1) == 1)
      eventually("the client's byte") { port.read(port: 5, byteCount: 1) & 1 == 1 }
      #expect(port.read(port: 0, byteCount: 1) == UInt32(round))
      port.write(port: 0, byteCount: 1, value: 0x2a)
      var byte: UInt8 = 0
      #expect(read(client.raw, &byte, 1) == 1 && byte == 0x2a)
    }
  }

  private func connect(to path: String) throws -> OwnedDescriptor {
    let client = OwnedDescriptor(
      adopting: socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0))
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
    let result = withUnsafePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        Glibc.connect(client.raw, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
      }
    }
    try #require(result == 0)
    return client
  }

  @Test func `what cannot be opened is said in a sentence`() {
    #expect {
      try SerialPort(backend: .file(path: "/nowhere/at/all"), line: LineProbe().line)
    } throws: { error in
      "\(error)".contains("/nowhere/at/all") && "\(error)".contains("No such file")
    }
    #expect(CharacterBackend("unix:/tmp/x") == .unix(path: "/tmp/x"))
    #expect(CharacterBackend("stdio") == .stdio)
    #expect(CharacterBackend("file:") == nil)
    #expect(CharacterBackend("tcp:1") == nil)
  }
}
