// The console: output in order, input into the driver's buffers, moves.

import Glibc
import Testing
import Transport

@testable import Devices

struct VirtioConsoleTests {
  private final class Setup {
    let console: VirtioConsole
    let driver: FakeDriver
    let machine: TestMachine
    let peer: OwnedDescriptor

    init() throws {
      machine = try TestMachine()
      var pair = try SocketPair()
      console = try VirtioConsole(
        memory: machine.space, line: LineProbe().line,
        channel: CharacterChannel(port: CharacterPort(adopting: pair.take())))
      peer = pair.take()
      driver = FakeDriver(console, machine)
      console.resume()
      driver.start(queues: 2)
    }

    func heard(_ count: Int) -> [UInt8] {
      var bytes = [UInt8](repeating: 0, count: count)
      var done = 0
      while done < count {
        let result = bytes[done...].withUnsafeMutableBytes {
          Glibc.read(peer.raw, $0.baseAddress, count - done)
        }
        guard result > 0 else { break }
        done += result
      }
      return Array(bytes.prefix(done))
    }
  }

  @Test func `output arrives whole and in order`() throws {
    let setup = try Setup()
    let text = (0..<3000).map { UInt8(truncatingIfNeeded: $0 * 11) }
    setup.machine.put(text, at: 0x4_0000)
    setup.driver.add(1, readable: [(0x4_0000, 1000), (0x4_0000 + 1000, 500)])
    setup.driver.add(1, readable: [(0x4_0000 + 1500, 1500)])
    setup.driver.notify(1)
    #expect(setup.heard(3000) == text)
    #expect(setup.driver.await(1, count: 2).allSatisfy { $0.byteCount == 0 })
    setup.console.quiesce()
  }

  @Test func `input fills the driver's buffers as they come`() throws {
    let setup = try Setup()
    #expect(write(setup.peer.raw, Array("0123456789".utf8), 10) == 10)
    setup.driver.add(0, writable: [(0x5_0000, 4)])
    setup.driver.notify(0)
    #expect(setup.driver.await(0).first?.byteCount == 4)
    setup.driver.add(0, writable: [(0x5_1000, 100)])
    setup.driver.notify(0)
    #expect(setup.driver.await(0).first?.byteCount == 6)
    #expect(setup.machine.bytes(0x5_0000, 4) == Array("0123".utf8))
    #expect(setup.machine.bytes(0x5_1000, 6) == Array("456789".utf8))
    setup.console.quiesce()
  }

  @Test func `a reader that pauses holds output in the queue, and then gets all of it`() throws {
    let setup = try Setup()
    setup.machine.put([UInt8](repeating: 0x61, count: 0x1_0000), at: 0x4_0000)
    var added = 0
    // Until the socket and the channel are full, and the device leaves a request in its queue.
    while added < 200, setup.console.core.capture().registers.queues[1].nextAvailable == added {
      setup.driver.add(1, readable: [(0x4_0000, 0x4000)])
      setup.driver.notify(1)
      added += 1
    }
    #expect(added < 200)
    #expect(setup.heard(added * 0x4000).count == added * 0x4000)
    setup.console.quiesce()
  }

  @Test func `an emergency byte needs no queue`() throws {
    let setup = try Setup()
    setup.driver.write(0x70, 0)
    setup.driver.write(0x108, 0x2a)
    #expect(setup.heard(1) == [0x2a])
    setup.console.quiesce()
  }

  @Test func `a console moves with its buffers`() throws {
    let setup = try Setup()
    setup.driver.add(0, writable: [(0x5_0000, 16)])
    setup.driver.notify(0)
    setup.console.quiesce()
    var pair = try SocketPair()
    let target = try VirtioConsole(
      memory: setup.machine.space, line: LineProbe().line,
      channel: CharacterChannel(port: CharacterPort(adopting: pair.take())))
    let peer = pair.take()
    try move(from: setup.console, to: target)
    let there = FakeDriver(target, setup.machine)
    there.adopt(setup.driver)
    target.resume()
    #expect(write(peer.raw, Array("there".utf8), 5) == 5)
    #expect(there.await(0).first?.byteCount == 5)
    #expect(setup.machine.bytes(0x5_0000, 5) == Array("there".utf8))
    target.quiesce()
  }
}
