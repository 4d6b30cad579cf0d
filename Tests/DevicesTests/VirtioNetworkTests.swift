// The network interface: frames both ways over a pair of sockets, and over a tap where there is
// one.

import CLinux
import Glibc
import Testing

@testable import Devices

struct VirtioNetworkTests {
  private final class Setup {
    let network: VirtioNetwork
    let driver: FakeDriver
    let machine: TestMachine
    let peer: NetworkPort

    init(features: UInt64? = nil) throws {
      machine = try TestMachine()
      let (own, peer) = try NetworkPort.pair()
      self.peer = peer
      network = try VirtioNetwork(
        memory: machine.space, line: LineProbe().line, port: own, address: MACAddress(index: 1))
      driver = FakeDriver(network, machine)
      network.resume()
      driver.start(queues: 2, features: features)
    }

    func hear() -> [UInt8] {
      var frame: [UInt8]?
      eventually("a frame") {
        frame = peer.receive(atMost: 70_000)
        return frame != nil
      }
      return frame ?? []
    }
  }

  @Test func `it has its address, and its link is up`() throws {
    let setup = try Setup()
    let bytes = (0..<8).map { UInt8(setup.network.read(offset: 0x100 + $0, byteCount: 1)) }
    #expect(bytes == [0x52, 0x54, 0x00, 0x12, 0x00, 0x01, 1, 0])
    #expect("\(setup.network.address)" == "52:54:00:12:00:01")
    #expect(MACAddress("52:54:00:12:00:01") == setup.network.address)
    #expect(MACAddress("53:54:00:12:00:01") == nil, "an address of a group")
    #expect(MACAddress("52:54:00:12:00") == nil)
    #expect(MACAddress("52:54:00:12:00:1") == nil)
    setup.network.quiesce()
  }

  @Test func `frames leave without their header`() throws {
    let setup = try Setup()
    let frame = (0..<60).map { UInt8($0) }
    setup.machine.put([UInt8](repeating: 0, count: 12) + frame, at: 0x4_0000)
    setup.driver.add(1, readable: [(0x4_0000, 12), (0x4_000c, 20), (0x4_0020, 40)])
    setup.driver.notify(1)
    #expect(setup.hear() == frame)
    #expect(setup.driver.await(1).count == 1)
    setup.network.quiesce()
  }

  @Test func `frames arrive behind a header that counts the buffers`() throws {
    let setup = try Setup()
    let frame = (0..<900).map { UInt8(truncatingIfNeeded: $0) }
    #expect(setup.peer.send(frame[...]) == .sent)
    usleep(20_000)
    for index in 0..<4 as Range<UInt64> {
      setup.driver.add(0, writable: [(0x5_0000 + index * 0x1000, 256)])
    }
    setup.driver.notify(0)
    #expect(setup.driver.await(0, count: 4).map(\.byteCount) == [256, 256, 256, 144])
    #expect(setup.machine.bytes(0x5_0000, 12) == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0])
    #expect(setup.machine.bytes(0x5_000c, 244) == Array(frame[..<244]))
    #expect(setup.machine.bytes(0x5_3000, 144) == Array(frame[756...]))
    setup.network.quiesce()
  }

  @Test func `without merging, what does not fit one buffer is lost and the next arrives`() throws {
    let features = VirtioFeature.version1 | VirtioNetwork.hasAddress
    let setup = try Setup(features: features)
    setup.driver.add(0, writable: [(0x5_0000, 300)])
    setup.driver.notify(0)
    #expect(setup.peer.send([UInt8](repeating: 1, count: 600)[...]) == .sent)
    #expect(setup.peer.send([UInt8](repeating: 2, count: 100)[...]) == .sent)
    #expect(setup.driver.await(0).first?.byteCount == 112)
    #expect(setup.machine.bytes(0x5_000a, 3) == [1, 0, 2])
    setup.network.quiesce()
  }

  @Test func `many frames go out through a peer that is slow`() throws {
    let setup = try Setup()
    setup.machine.put([UInt8](repeating: 0, count: 1512), at: 0x4_0000)
    var sent = 0
    var heard = 0
    while heard < 600 {
      if sent < 600 && sent - heard < 15 {
        setup.driver.add(1, readable: [(0x4_0000, 1512)])
        setup.driver.notify(1)
        sent += 1
      } else {
        #expect(setup.hear().count == 1500)
        heard += 1
      }
    }
    setup.network.quiesce()
  }

  @Test func `a peer that has gone costs nothing but its frames`() throws {
    let machine = try TestMachine()
    let network = try VirtioNetwork(
      memory: machine.space, line: LineProbe().line, port: try NetworkPort.pair().0,
      address: MACAddress(index: 0))
    let driver = FakeDriver(network, machine)
    network.resume()
    driver.start(queues: 2)
    driver.add(0, writable: [(0x5_0000, 2000)])
    driver.notify(0)
    driver.add(1, readable: [(0x4_0000, 80)])
    driver.notify(1)
    #expect(driver.await(1).count == 1)
    #expect(driver.collect(0).isEmpty)
    network.quiesce()
  }

  @Test(arguments: ["no header", "outside"])
  func `a frame that is none ends in a reset`(kind: String) throws {
    let setup = try Setup()
    setup.driver.add(1, readable: [(kind == "outside" ? 0x40_0000 : 0x4_0000, 11)])
    setup.driver.notify(1)
    eventually("the device asks for a reset") { setup.driver.needsReset }
    setup.network.quiesce()
  }

  @Test func `an interface moves between two frames`() throws {
    let setup = try Setup()
    for index in 0..<2 as Range<UInt64> {
      setup.driver.add(0, writable: [(0x5_0000 + index * 0x1000, 2000)])
    }
    setup.driver.notify(0)
    #expect(setup.peer.send([UInt8](repeating: 1, count: 64)[...]) == .sent)
    #expect(setup.driver.await(0).count == 1)
    setup.network.quiesce()
    // Made available to a device that stands still; sent where it wakes.
    setup.driver.add(1, readable: [(0x4_0000, 112)])
    setup.driver.notify(1)
    let (own, peer) = try NetworkPort.pair()
    let target = try VirtioNetwork(
      memory: setup.machine.space, line: LineProbe().line, port: own,
      address: MACAddress(index: 1))
    try move(from: setup.network, to: target)
    let there = FakeDriver(target, setup.machine)
    there.adopt(setup.driver)
    target.resume()
    #expect(there.await(1).count == 1)
    var heard: [UInt8]?
    eventually("the frame") {
      heard = heard ?? peer.receive(atMost: 2000)
      return heard?.count == 100
    }
    #expect(peer.send([UInt8](repeating: 7, count: 64)[...]) == .sent)
    #expect(there.await(0).first?.byteCount == 76)
    #expect(setup.machine.bytes(0x5_100c, 2) == [7, 7])
    target.quiesce()
  }

  static let canOpenTap: Bool = {
    let number = godwit_tap_open("gwtest%d")
    if number >= 0 { close(number) }
    return number >= 0
  }()

  @Test(.enabled(if: canOpenTap, "no right to make a tap interface here"))
  func `a tap takes and gives frames with offloads`() throws {
    let machine = try TestMachine()
    let network = try VirtioNetwork(
      memory: machine.space, line: LineProbe().line, tap: "gwtest%d",
      address: MACAddress(index: 2))
    let driver = FakeDriver(network, machine)
    #expect(driver.offered & VirtioNetwork.hostSegmentation4 != 0)
    network.resume()
    driver.start(queues: 2)
    // The interface is down, so the frame is lost, but the request comes back.
    machine.put([UInt8](repeating: 0, count: 100), at: 0x4_0000)
    driver.add(1, readable: [(0x4_0000, 100)])
    driver.notify(1)
    #expect(driver.await(1).count == 1)
    network.quiesce()
  }
}
