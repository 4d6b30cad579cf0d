// A virtio driver in a few lines: negotiates, builds rings in guest memory, collects answers.

import GuestMemory
import Testing

@testable import Devices

/// Drives a device as Linux would, from the test's own thread.
final class FakeDriver {
  struct Used: Equatable {
    var head: UInt16
    var byteCount: Int
  }

  let device: any VirtioDevice
  let machine: TestMachine
  let size: UInt16
  /// Where the queues are: 0x2000 bytes each.
  let base: UInt64
  private var nextDescriptor: [Int: UInt16] = [:]
  private var available: [Int: UInt16] = [:]
  private var seen: [Int: UInt16] = [:]

  init(
    _ device: any VirtioDevice, _ machine: TestMachine, size: UInt16 = 16, base: UInt64 = 0x1_0000
  ) {
    self.device = device
    self.machine = machine
    self.size = size
    self.base = base
  }

  func read(_ register: UInt64) -> UInt32 {
    UInt32(truncatingIfNeeded: device.read(offset: register, byteCount: 4))
  }

  func write(_ register: UInt64, _ value: UInt32) {
    device.write(offset: register, byteCount: 4, value: UInt64(value))
  }

  var offered: UInt64 {
    write(0x14, 0)
    let low = read(0x10)
    write(0x14, 1)
    return UInt64(read(0x10)) << 32 | UInt64(low)
  }

  /// Negotiates and starts queues; `features` nil takes what is offered but for events.
  func start(queues: Int, features: UInt64? = nil) {
    write(0x70, 0)
    write(0x70, 3)
    let features = features ?? offered & ~VirtioFeature.events
    for half in 0..<2 {
      write(0x24, UInt32(half))
      write(0x20, UInt32(truncatingIfNeeded: features >> UInt64(32 * half)))
    }
    write(0x70, 11)
    #expect(read(0x70) == 11, "the device takes the features")
    for queue in 0..<queues { setUp(queue) }
    write(0x70, 15)
  }

  func setUp(_ queue: Int) {
    let start = base + UInt64(queue) * 0x2000
    machine.put([UInt8](repeating: 0, count: 0x2000), at: start)
    write(0x30, UInt32(queue))
    write(0x38, UInt32(size))
    for (register, address) in [
      (0x80, start), (0x90, availableRing(queue)), (0xa0, usedRing(queue)),
    ] as [(UInt64, UInt64)] {
      write(register, UInt32(truncatingIfNeeded: address))
      write(register + 4, UInt32(truncatingIfNeeded: address >> 32))
    }
    write(0x44, 1)
    #expect(read(0x44) == 1)
    (nextDescriptor[queue], available[queue], seen[queue]) = (0, 0, 0)
  }

  func availableRing(_ queue: Int) -> UInt64 { base + UInt64(queue) * 0x2000 + 0x1000 }
  func usedRing(_ queue: Int) -> UInt64 { base + UInt64(queue) * 0x2000 + 0x1800 }

  /// Writes a descriptor.
  func describe(
    _ table: UInt64, _ index: UInt16, _ address: UInt64, _ count: UInt32, _ flags: UInt16,
    _ next: UInt16
  ) {
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(address)
    bytes.appendLittleEndian(count)
    bytes.appendLittleEndian(flags)
    bytes.appendLittleEndian(next)
    machine.put(bytes, at: table + UInt64(index) * 16)
  }

  /// Makes a request available without telling the device; its head.
  ///
  /// - Parameter indirectTable: where to put the descriptors, if not into the queue's table.
  @discardableResult
  func add(
    _ queue: Int, readable: [(address: UInt64, count: Int)] = [],
    writable: [(address: UInt64, count: Int)] = [], indirectTable: UInt64? = nil
  ) -> UInt16 {
    let pieces = readable.map { ($0, false) } + writable.map { ($0, true) }
    let table = base + UInt64(queue) * 0x2000
    let first = nextDescriptor[queue] ?? 0
    for (index, (piece, isWritable)) in pieces.enumerated() {
      let isLast = index == pieces.count - 1
      let number = indirectTable == nil ? (first + UInt16(index)) % size : UInt16(index)
      let next = indirectTable == nil ? (number + 1) % size : number + 1
      describe(
        indirectTable ?? table, number, piece.address, UInt32(piece.count),
        (isLast ? 0 : 1) | (isWritable ? 2 : 0), next)
    }
    if let indirectTable {
      describe(table, first, indirectTable, UInt32(pieces.count * 16), 4, 0)
      nextDescriptor[queue] = (first + 1) % size
    } else {
      nextDescriptor[queue] = (first + UInt16(pieces.count)) % size
    }
    publish(queue, head: first)
    return first
  }

  func publish(_ queue: Int, head: UInt16) {
    let index = available[queue] ?? 0
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(head)
    machine.put(bytes, at: availableRing(queue) + 4 + 2 * UInt64(index % size))
    available[queue] = index &+ 1
    bytes = []
    bytes.appendLittleEndian(index &+ 1)
    machine.put(bytes, at: availableRing(queue) + 2)
  }

  func notify(_ queue: Int) { write(0x50, UInt32(queue)) }

  /// What was handed back since the last call.
  func collect(_ queue: Int) -> [Used] {
    let index = machine.bytes(usedRing(queue) + 2, 2).littleEndian(UInt16.self, at: 0)
    var found: [Used] = []
    while let last = seen[queue], last != index {
      let entry = machine.bytes(usedRing(queue) + 4 + 8 * UInt64(last % size), 8)
      found.append(
        Used(
          head: UInt16(entry.littleEndian(UInt32.self, at: 0)),
          byteCount: Int(entry.littleEndian(UInt32.self, at: 4))))
      seen[queue] = last &+ 1
    }
    return found
  }

  /// Waits until so many requests were handed back.
  func await(_ queue: Int, count: Int = 1) -> [Used] {
    var found: [Used] = []
    eventually("\(count) requests of queue \(queue) of \(device.name)") {
      found += collect(queue)
      return found.count >= count
    }
    return found
  }

  var needsReset: Bool { read(0x70) & 0x40 != 0 }

  /// Goes on as if so many requests had been made and handed back.
  func jump(_ queue: Int, to index: UInt16) {
    (available[queue], seen[queue]) = (index, index)
    var bytes: [UInt8] = []
    bytes.appendLittleEndian(index)
    machine.put(bytes, at: availableRing(queue) + 2)
    machine.put(bytes, at: usedRing(queue) + 2)
  }

  /// Takes over what another driver knows of its rings, as the kernel's memory does that moves.
  func adopt(_ other: FakeDriver) {
    nextDescriptor = other.nextDescriptor
    available = other.available
    seen = other.seen
  }
}

/// Saves one device and gives the state to another.
func move(from source: some Device, to target: some Device) throws {
  let saved = try #require(try source.vmstate.save())
  #expect(!saved.payload.isEmpty)
  try target.vmstate.prepare(
    saved.payload[...], version: source.vmstate.version, layout: saved.layout
  ).apply()
  let again = try #require(try target.vmstate.save())
  #expect(again.payload == saved.payload, "what was loaded is what was saved")
}
