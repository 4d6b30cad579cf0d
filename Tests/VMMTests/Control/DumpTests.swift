// Memory in files: cores as debuggers read them, and raw ranges.

import Foundation
import JSON
import QMP
import Testing

@testable import VMM

@Suite(.timeLimit(.minutes(2))) struct DumpTests {
  /// A core file, read by its headers.
  struct Core {
    struct Segment: Equatable {
      var type: UInt32, offset: Int, address: UInt64, byteCount: Int
    }
    struct Note: Equatable {
      var name: String, type: UInt32, bytes: [UInt8]
    }
    let bytes: [UInt8]
    var segments: [Segment] = []
    var notes: [Note] = []

    init(_ bytes: [UInt8]) throws {
      self.bytes = bytes
      // ELF, 64 bits, little-endian, version 1; ET_CORE, EM_X86_64.
      try #require(bytes.prefix(7) == [0x7F, 0x45, 0x4C, 0x46, 2, 1, 1])
      try #require(number(at: 16, 2) == 4 && number(at: 18, 2) == 62)
      let start = Int(number(at: 32, 8))
      for index in 0..<Int(number(at: 56, 2)) {
        let place = start + index * Int(number(at: 54, 2))
        segments.append(
          Segment(
            type: UInt32(number(at: place, 4)), offset: Int(number(at: place + 8, 8)),
            address: number(at: place + 24, 8), byteCount: Int(number(at: place + 32, 8))))
      }
      let part = try #require(segments.first { $0.type == 4 })
      var place = part.offset
      while place < part.offset + part.byteCount {
        let nameCount = Int(number(at: place, 4)), count = Int(number(at: place + 4, 4))
        let body = place + 12 + (nameCount + 3) / 4 * 4
        notes.append(
          Note(
            name: String(decoding: bytes[(place + 12)..<(place + 11 + nameCount)], as: UTF8.self),
            type: UInt32(number(at: place + 8, 4)), bytes: Array(bytes[body..<body + count])))
        place = body + (count + 3) / 4 * 4
      }
    }

    func number(at offset: Int, _ count: Int) -> UInt64 { Self.number(in: bytes, offset, count) }

    static func number(in bytes: [UInt8], _ offset: Int, _ count: Int) -> UInt64 {
      (0..<count).reduce(0) { $0 | UInt64(bytes[offset + $1]) << UInt64(8 * $1) }
    }
  }

  @Test func `a core has the memory and the registers of all vCPUs`() async throws {
    let served = try await Served()
    let events = served.client.events()
    try await served.run(
      "dump-guest-memory", ["paging": false, "protocol": .string("file:\(served.folder)/core")])
    let core = try Core(try served.file("core"))
    #expect(
      core.segments.filter { $0.type == 1 }.map { [$0.address, UInt64($0.byteCount)] } == [
        // Neighbours are one segment.
        [0, 0xA0000], [0x100000, 0x100000], [0xFFFF_0000, 0x10000],
      ])
    for segment in core.segments where segment.type == 1 {
      let wrong = (0..<segment.byteCount).first {
        core.bytes[segment.offset + $0]
          != ScriptedMachine.byte(at: segment.address + UInt64($0))
      }
      #expect(wrong == nil, "segment at \(segment.address)")
    }
    #expect(core.notes.map(\.name) == ["CORE", "CORE", "QEMU", "QEMU"])
    #expect(core.notes.map(\.type) == [1, 1, 0, 0])
    #expect(core.notes.map(\.bytes.count) == [336, 336, 440, 440])
    for (index, note) in core.notes.prefix(2).enumerated() {
      let registers = ScriptedMachine.registers(ofProcessor: index)
      func word(_ index: Int) -> UInt64 { Core.number(in: note.bytes, 112 + 8 * index, 8) }
      #expect(Core.number(in: note.bytes, 32, 4) == UInt64(index + 1))
      // The order of struct user_regs_struct.
      #expect(word(0) == registers.general[15] && word(5) == registers.general[1])
      #expect(word(10) == registers.general[0] && word(16) == registers.instructionPointer)
      #expect(word(18) == registers.flags && word(19) == registers.general[7])
      #expect(word(17) == 8 && word(20) == 16 && word(21) == 4 << 32 && word(26) == 40)
    }
    for (index, note) in core.notes.suffix(2).enumerated() {
      let registers = ScriptedMachine.registers(ofProcessor: index)
      func word(_ offset: Int) -> UInt64 { Core.number(in: note.bytes, offset, 8) }
      #expect(word(8) == registers.general[0] && word(56) == registers.general[7])
      #expect(word(64) == registers.general[6] && word(136) == registers.instructionPointer)
      #expect(word(392) == 0x8005_0033 && word(408) == 2 && word(416) == 3 && word(424) == 4)
      #expect(word(432) == 0x1234)
      // CS comes first, with its selector, limit, attributes and base.
      #expect(Core.number(in: note.bytes, 152, 4) == 8 && word(168) == 1 << 32)
    }
    var names: [String] = []
    for await event in events {
      names.append(event.name)
      guard event.name == "DUMP_COMPLETED" else { continue }
      let total: JSONValue = 0x1B0000
      #expect(
        event.data == ["result": ["status": "completed", "completed": total, "total": total]])
      break
    }
    #expect(names == ["STOP", "RESUME", "DUMP_COMPLETED"])
    #expect(served.machine.runState == .running)
  }

  @Test func `part of memory is dumped where a part is asked for`() async throws {
    let served = try await Served()
    try served.machine.stop()
    try await served.run(
      "dump-guest-memory",
      [
        "paging": false, "protocol": .string("file:\(served.folder)/core"), "begin": 0x9F000,
        "length": 0x62000, "detach": true, "format": "elf",
      ])
    while try await served.run("query-dump")["status"] == "active" {}
    #expect(try await served.run("query-dump")["status"] == "completed")
    let core = try Core(try served.file("core"))
    #expect(
      core.segments.filter { $0.type == 1 }.map { [$0.address, UInt64($0.byteCount)] } == [
        [0x9F000, 0x1000], [0x100000, 0x1000],
      ])
    // One that was stopped stays so.
    #expect(served.machine.runState == .paused)
  }

  @Test func `what cannot be dumped is said`() async throws {
    let served = try await Served()
    func refusal(_ arguments: [JSONMember]) async throws -> String? {
      let target = JSONMember("protocol", .string("file:\(served.folder)/core"))
      let given = arguments.map(\.name)
      let rest = [JSONMember("paging", false), target].filter { !given.contains($0.name) }
      return try await served.refusal("dump-guest-memory", .object(rest + arguments))
    }
    #expect(
      try await refusal([JSONMember("protocol", "foo:x")])
        == "parameter 'protocol' must start with 'file:' or 'fd:'")
    #expect(
      try await refusal([JSONMember("protocol", "fd:x")])
        == "File descriptor named 'x' has not been found")
    #expect(try await refusal([JSONMember("paging", true)])?.contains("paging") == true)
    #expect(
      try await refusal([JSONMember("begin", 0)]) == "Parameter 'length' is missing")
    #expect(
      try await refusal([JSONMember("begin", 0), JSONMember("length", 0)])
        == "parameter 'length' expects a non-zero size")
    #expect(
      try await refusal([JSONMember("begin", 0xB0000), JSONMember("length", 4096)])
        == "dump: no guest memory to dump")
    #expect(
      try await refusal([
        JSONMember("begin", .unsigned(UInt64.max)), JSONMember("length", 2),
      ]) == "dump: no guest memory to dump")
    #expect(
      try await refusal([JSONMember("format", "kdump-zlib")])
        == "Parameter 'format' does not accept value 'kdump-zlib'")
    #expect(
      try await refusal([JSONMember("protocol", "file:/nowhere/at/all")])?
        .contains("/nowhere/at/all") == true)
    served.machine.state.withLock { $0.failsToRead = true }
    #expect(try await refusal([])?.contains("cannot read") == true)
    #expect(try await served.run("query-dump")["status"] == "failed")
    #expect(served.machine.runState == .running)
    served.machine.change(to: .inMigrate)
    #expect(try await refusal([]) == "Dump not allowed during incoming migration.")
  }

  @Test func `a range of memory is saved, zeros where there is none`() async throws {
    let served = try await Served()
    try await served.run(
      "pmemsave",
      ["val": 0x9FF00, "size": 0x60200, "filename": .string(served.folder + "/raw")])
    let bytes = try served.file("raw")
    let wrong = bytes.indices.first { index in
      let address = 0x9FF00 + UInt64(index)
      let isHole = address >= 0xA0000 && address < 0x100000
      return bytes[index] != (isHole ? 0 : ScriptedMachine.byte(at: address))
    }
    #expect(bytes.count == 0x60200 && wrong == nil)
    #expect(
      try await served.refusal(
        "pmemsave", ["val": 1_099_511_627_776, "size": 4096, "filename": "/tmp/never"])?
        .hasPrefix("Invalid addr 0x10000000000 or size 4096 specified") == true)
    #expect(
      try await served.refusal(
        "pmemsave", ["val": 0, "size": .unsigned(.max), "filename": "/tmp/never"])?
        .hasPrefix("Invalid addr") == true)
  }
}
