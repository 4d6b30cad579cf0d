// CodingTests.swift: a state becomes bytes as the format has them, and comes back.

import FuzzFrame
import Testing
import VMStateLab
import Wire

@testable import VMState

@Suite struct CodingTests {
  private struct Small: Equatable {
    var byte: UInt8 = 0xfe
    var half: Int16 = -2
    var word: UInt32 = 0x0102_0304
    var long: Int64 = -3
    var isOn = true
    var timer: UInt64?
    var bytes: [UInt8] = [7, 8]
    var bits: [UInt64] = [5]
    var list: [UInt16] = [1, 0x203]
    var counted: [UInt8] = [9]
  }

  @Test func `each kind of field has the bytes that the format gives it`() throws {
    let description = VMStateDescription<Small>(
      name: "small", version: 1,
      fields: [
        .uint8("byte", \.byte), .int16("half", \.half), .uint32("word", \.word),
        .int64("long", \.long), .bool("is_on", \.isOn), .timer("timer", \.timer),
        .buffer("bytes", \.bytes, count: 2), .bitmap("bits", \.bits, bitCount: 3), .unused(2),
        .array("list", \.list, count: 2),
        .countedBuffer("counted", \.counted, count: "count", as: UInt16.self, limit: 4),
      ],
      subsections: [
        VMStateDescription(
          name: "small/x", version: 7, needed: { _ in true }, fields: [.uint8("byte", \.byte)])
      ])
    let saved = try #require(try description.encode(Small()))
    let expected: [[UInt8]] = [
      [0xfe], [0xff, 0xfe], [1, 2, 3, 4], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfd], [1],
      [UInt8](repeating: 0xff, count: 8), [7, 8], [0, 0, 0, 0, 0, 0, 0, 5], [0, 0],
      [0, 1, 2, 3], [0, 1], [9],
      [5, 7], Array("small/x".utf8), [0, 0, 0, 7], [0xfe],
    ]
    #expect(saved.payload == expected.flatMap { $0 })
    #expect(
      saved.layout.fields.map(\.type) == [
        "uint8", "int16", "uint32", "int64", "bool", "timer", "buffer", "bitmap",
        "unused_buffer", "uint16", "uint16", "buffer",
      ])
    #expect(try description.decode(saved.payload[...], version: 1, into: Small()) == Small())
  }

  @Test func `what is written comes back, whatever it is`() throws {
    var random = SplitMix(state: 1)
    for _ in 0..<300 {
      let state = Sample(random: &random)
      let saved = try #require(try Sample.description.encode(state))
      let again = try Sample.description.decode(saved.payload[...], version: 2, into: Sample())
      #expect(again == state)
      let inTheMiddle = [1, 2, 3] + saved.payload + [4]
      let slice = inTheMiddle[3..<inTheMiddle.count - 1]
      #expect(try Sample.description.decode(slice, version: 2, into: Sample()) == state)
    }
  }

  @Test func `a section that ends early is refused, and never trusted`() throws {
    var random = SplitMix(state: 2)
    var state = Sample(random: &random)
    state.history = [1, 2, 3]
    state.depth = 4
    state.isOn = true
    let bytes = try #require(try Sample.description.encode(state)).payload
    // The ends of subsections are ends of shorter sections: only their footer tells.
    var wholeEnds: Set<Int> = []
    for state in [bare(state) { $0.history = [] }, bare(state) { $0.depth = 0 }] {
      wholeEnds.insert(try #require(try Sample.description.encode(state)).payload.count)
    }
    for count in 0..<bytes.count where !wholeEnds.contains(count) {
      let error = #expect(throws: VMStateError.self) {
        try Sample.description.decode(bytes[..<count], version: 2, into: Sample())
      }
      #expect(error?.device == "sample")
      #expect([.truncated, .bytesAfterEnd].contains(error?.kind), "\(count): \(error as Any)")
      #expect(try #require(error?.offset) <= count)
    }
  }

  private func bare(_ state: Sample, _ change: (inout Sample) -> Void) -> Sample {
    var state = state
    change(&state)
    return state
  }

  @Test func `an error names the device, the instance, the path and the offset`() throws {
    var state = Sample()
    state.rings[1].head = 3
    var bytes = try #require(try Sample.description.encode(state)).payload
    let head = try #require(bytes.firstIndex(of: 3))
    bytes[head] = 200
    let error = #expect(throws: VMStateError.self) {
      try Sample.description.decode(
        bytes[...], version: 2, into: Sample(), device: "0000:00/sample", instance: 4)
    }
    #expect(
      error?.description == """
        Loading field rings[1] of device 0000:00/sample, instance 4, at byte \(head + 1) of its \
        section: expected a head within the ring, found values that break it. The state is \
        damaged, or its source has a fault: save the machine again.
        """)
  }

  @Test func `values that a field cannot have are refused with its name`() throws {
    let good = try #require(try Sample.description.encode(Sample())).payload
    // The offsets of the fields of `Sample.description`.
    for (offset, value, field) in [
      (30, 2, "is_on"), (31, 3, "mode"), (42, 1, "sector_size"), (60, 65, "input_size"),
      (77, 0x40, "features"), (97, 11, "log_count"),
    ] as [(Int, UInt8, String)] {
      var bytes = good
      bytes[offset] = value
      let error = #expect(throws: VMStateError.self) {
        try Sample.description.decode(bytes[...], version: 2, into: Sample())
      }
      #expect(error?.field == field, "\(error as Any)")
    }
  }

  @Test func `a state that has no form on the wire is not written`() throws {
    for change: (inout Sample) -> Void in [
      { $0.key = [1] }, { $0.input = [UInt8](repeating: 0, count: 65) },
      { $0.rings = [] }, { $0.features = [0, 0x40] }, { $0.divisor = 0 },
      { $0.log = [Int16](repeating: 0, count: 11) },
    ] {
      var state = Sample()
      change(&state)
      let error = #expect(throws: VMStateError.self) { try Sample.description.encode(state) }
      #expect(error?.action == .saving)
    }
  }
}
