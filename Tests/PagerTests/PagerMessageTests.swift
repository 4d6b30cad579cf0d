// What machine and pager say to each other comes through as it was said, and nonsense does not.

import MigrationCore
import Simulation
import Testing
import Wire

@testable import Pager

@Suite struct `The language of machine and pager` {
  static let block = RAMBlockDescription(
    name: "pc.ram", usedLength: 1 << 30, pageSize: 2 << 20, guestAddress: nil)
  static let recovery = StreamDecoder.Recovery(
    ramSectionID: 2, blocks: [block, RAMBlockDescription(name: "é", usedLength: 4096)],
    targetPageSize: 4096)
  static let state = DeviceState(bytes: [1, 2, 3], description: Array("{}".utf8))
  static let configuration = StreamConfiguration(
    machine: "godwit-pc-1", targetPageBits: 12, capabilities: ["a", ""], uuid: [9, 8])

  static let messages: [PagerMessage] = [
    .hello(version: 1), .hello(version: .max),
    .memory(MemoryNotice(name: "", byteCount: .max, pageSize: 4096, hostAddress: 1 << 47)),
    .record, .faults(threads: [1, -2]), .resume(recovery, order: [1, 0]),
    .resume(recovery, order: []),
    .link(number: 3, peer: "tcp:127.0.0.1:4444", isReadOnly: true), .linkOutput,
    .preempt(link: .max, peer: "the peer of unix:/a"), .breakLink,
    .cancel,
    .answer(call: 7, .done([3, 2, 1])), .answer(call: 0, .refused("No.")),
    .call(1, .prepare(configuration, [block])),
    .call(2, .prepare(StreamConfiguration(machine: "x"), [])),
    .call(3, .takeDeviceState(state)), .call(4, .complete), .call(5, .beginServing(recovery)),
    .call(6, .load(DeviceState(bytes: [], description: nil, usesFooters: false))),
    .call(7, .run), .call(8, .endServing), .status(.postcopyPaused),
    .outcome(link: 1, .completed), .outcome(link: 0, .interrupted("a")),
    .outcome(link: .max, .failed("")),
  ]

  @Test func `every message comes through, however its bytes are split`() throws {
    let stream = Self.messages.flatMap(PagerFrames.encode)
    for step in [1, 2, 3, 7, 100, stream.count] {
      var frames = PagerFrames()
      var found: [PagerMessage] = []
      for start in stride(from: 0, to: stream.count, by: step) {
        frames.feed(Array(stream[start..<min(start + step, stream.count)]))
        while let (message, hasDescriptor) = try frames.next() {
          #expect(hasDescriptor == message.carriesDescriptor)
          found.append(message)
        }
      }
      #expect(found == Self.messages)
    }
  }

  @Test func `a message that is cut short is no message`() throws {
    for message in Self.messages {
      let frame = PagerFrames.encode(message)
      for length in 0..<frame.count {
        var frames = PagerFrames()
        frames.feed(Array(frame.prefix(length)))
        #expect(try frames.next() == nil)
        // Its length changed to what there is.
        guard length >= PagerFrames.headerByteCount else { continue }
        var short = Array(frame.prefix(length))
        var writer = PagerWriter()
        writer.add(UInt32(length - PagerFrames.headerByteCount))
        short.replaceSubrange(0..<4, with: writer.bytes)
        frames = PagerFrames()
        frames.feed(short)
        #expect(throws: PagerError.self, "\(message) in \(length) bytes") { try frames.next() }
      }
    }
  }

  @Test func `any bytes are messages or an error, and take no memory by announcement`() throws {
    var random = SeededRandom(seed: 11)
    var errors = 0
    for round in 0..<4000 {
      var bytes: [UInt8]
      if round.isMultiple(of: 2) {
        bytes = (0..<random.below(80)).map { _ in UInt8(random.below(256)) }
      } else {
        bytes = Self.messages.flatMap { random.below(3) == 0 ? PagerFrames.encode($0) : [] }
        for _ in 0..<1 + random.below(4) where !bytes.isEmpty {
          bytes[random.below(bytes.count)] = UInt8(random.below(256))
        }
      }
      var frames = PagerFrames()
      frames.feed(bytes)
      do {
        while try frames.next() != nil {}
      } catch {
        errors += 1
      }
    }
    #expect(errors > 1000)
  }

  @Test func `a message that is announced to be too long is refused at once`() throws {
    var writer = PagerWriter()
    writer.add(UInt32(PagerFrames.longestPayload + 1))
    writer.add(UInt32(0))
    var frames = PagerFrames()
    frames.feed(writer.bytes)
    let error = #expect(throws: PagerError.self) { try frames.next() }
    #expect(error?.description.contains("\(PagerFrames.longestPayload + 1) bytes") == true)
  }

  @Test func `a list that announces more than there is takes nothing`() throws {
    var writer = PagerWriter()
    writer.add(UInt32.max)
    var reader = PagerReader(writer.bytes)
    #expect(throws: PagerError.self) {
      try reader.list { (reader) throws(PagerError) in try reader.number(UInt8.self) }
    }
  }
}
