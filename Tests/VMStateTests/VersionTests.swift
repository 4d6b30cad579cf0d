// VersionTests.swift: older states load, newer ones are refused by name; parts and hooks.

import Testing
import VMStateLab
import Wire

@testable import VMState

@Suite struct VersionTests {
  @Test func `a state of an earlier version loads, and what it lacks is blank`() throws {
    var state = Sample()
    state.control = 9
    state.pair.left = -5
    state.extra = 1
    let saved = try #require(try Sample.firstDescription.encode(state))
    let loaded = try Sample.description.decode(saved.payload[...], version: 1, into: Sample())
    #expect(loaded.control == 9)
    #expect(loaded.pair.left == -5)
    #expect(loaded.extra == Sample().extra)
  }

  @Test func `a newer state is refused, and what is new in it is named`() throws {
    let saved = try #require(try Sample.description.encode(Sample()))
    let error = #expect(throws: VMStateError.self) {
      try Sample.firstDescription.decode(
        saved.payload[...], version: 2, layout: saved.layout, into: Sample(), device: "disk",
        instance: 3)
    }
    #expect(error?.kind == .unsupportedVersion)
    #expect(
      error?.description == """
        Loading field extra of device disk, instance 3: expected version 1, found version 2 with \
        extra, rings, pending_count, unknown here. Load it with the build that saved it, or a \
        later one.
        """)
  }

  @Test func `an older state than is read is refused`() throws {
    let error = #expect(throws: VMStateError.self) {
      try Sample.description.decode([], version: 0, into: Sample())
    }
    #expect(error?.expected == "a version from 1 to 2")
  }

  private struct Part: Equatable {
    var value: UInt8 = 1
    var other: UInt8 = 0
  }

  private func description(
    _ version: Int = 1, minimumVersion: Int = 1, name: String = "part/x"
  ) -> VMStateDescription<Part> {
    VMStateDescription(
      name: "part", version: 1, fields: [.uint8("value", \.value)],
      subsections: [
        VMStateDescription(
          name: name, version: version, minimumVersion: minimumVersion,
          needed: { $0.other != 0 }, fields: [.uint8("other", \.other)])
      ])
  }

  @Test func `a subsection is there where it is needed`() throws {
    #expect(try description().encode(Part())?.payload == [1])
    let saved = try #require(try description().encode(Part(value: 1, other: 2)))
    #expect(saved.payload == [1, 5, 6] + Array("part/x".utf8) + [0, 0, 0, 1, 2])
    let read = try description().decode(saved.payload[...], version: 1, into: Part())
    #expect(read == Part(value: 1, other: 2))
    #expect(try description().decode([7], version: 1, into: Part()) == Part(value: 7))
  }

  @Test func `a subsection that is unknown, newer or there twice is refused by name`() throws {
    let saved = try #require(try description(2).encode(Part(value: 1, other: 2))).payload
    for (bytes, reader, kind) in [
      (saved, description(), .unsupportedVersion),
      (saved, description(name: "part/y"), .unexpectedSubsection),
      (saved + saved.dropFirst(), description(2), .unexpectedSubsection),
      (saved, description(3, minimumVersion: 3), .unsupportedVersion),
    ] as [([UInt8], VMStateDescription<Part>, VMStateError.Kind)] {
      let error = #expect(throws: VMStateError.self) {
        try reader.decode(bytes[...], version: 1, into: Part())
      }
      #expect(error?.kind == kind)
      #expect(error?.field == "part/x")
    }
  }

  @Test func `hooks run around the fields, and may refuse`() throws {
    struct Refusal: Error {}
    let description = VMStateDescription<Part>(
      name: "part", version: 2, minimumVersion: 1, fields: [.uint8("value", \.value)],
      preSave: { $0.value += 1 },
      preLoad: { $0.other = 5 },
      postLoad: { state, version in
        if state.value == 0 { throw Refusal() }
        state.other += UInt8(version)
      })
    #expect(try description.encode(Part(value: 3))?.payload == [4])
    #expect(
      try description.decode([8], version: 1, into: Part()) == Part(value: 8, other: 6))
    let error = #expect(throws: VMStateError.self) {
      try description.decode([0], version: 2, into: Part())
    }
    #expect(error?.kind == .refused)
    #expect(error?.found == "a refusal (Refusal())")
  }

  @Test func `a device that cannot be saved says why`() throws {
    let description = VMStateDescription<Part>(
      name: "part", version: 1, unmigratable: "its memory is elsewhere")
    let error = #expect(throws: VMStateError.self) { try description.encode(Part()) }
    #expect(error?.kind == .unmigratable)
    #expect(error?.found == "its memory is elsewhere")
  }
}
