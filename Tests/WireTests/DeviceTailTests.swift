// DeviceTailTests.swift: where the device state ends, whatever it contains.

import Testing
import WireLab

@testable import Wire

@Suite struct DeviceTailTests {
  private let json = """
    {"page_size":4096,"devices":[{"name":"d","instance_id":0,"vmsd_name":"d","version":1,\
    "fields":[{"name":"b","type":"buffer","size":SIZE}]}]}
    """

  /// A stream with one device whose payload is `payload`.
  private func stream(
    payload: [UInt8], description: [UInt8]?, hasEnd: Bool = true
  ) throws -> [UInt8] {
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "m"))
    try encoder.appendSectionStart(.ram(id: 1))
    try encoder.appendRAMSetup([RAMBlockDescription(name: "a", usedLength: 4096)])
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 1)
    if hasEnd {
      encoder.appendSectionEnd(id: 1)
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 1)
    }
    try encoder.appendFullSection(
      SectionHeader(id: 5, name: "d", instanceID: 0, versionID: 1), payload: payload)
    encoder.appendEndOfStream()
    if let description { encoder.appendDescription(description) }
    return encoder.buffer
  }

  private func described(_ size: Int) -> [UInt8] {
    let parts = json.split(separator: "SIZE")
    return Array("\(parts[0])\(size)\(parts[1])".utf8)
  }

  /// Decodes whole and byte by byte, which has to be the same.
  private func decode(
    _ bytes: [UInt8], _ options: StreamDecoder.Options = .init()
  ) -> Outcome {
    let whole = Outcome(bytes, options: options) { .max }
    #expect(whole == Outcome(bytes, options: options) { 1 })
    return whole
  }

  private func state(_ outcome: Outcome) -> DeviceState? {
    for case .deviceState(let state) in outcome.events { return state }
    return nil
  }

  @Test func `the state is told with the last byte of its description`() throws {
    let bytes = try stream(payload: [1, 2, 3], description: described(3))
    var decoder = StreamDecoder()
    var recorder = Recorder()
    try bytes.withBytes(0..<bytes.count - 1) { try decoder.feed($0, to: &recorder) }
    #expect(!decoder.isFinished)
    try bytes.withBytes(bytes.count - 1..<bytes.count) { try decoder.feed($0, to: &recorder) }
    #expect(decoder.isFinished)
  }

  @Test func `a payload that looks like the end is no end`() throws {
    // A footer, the end and a description, all of them false: `{}` does not fit what precedes.
    let decoys: [[UInt8]] = [
      [0x7e, 0, 0, 0, 9, 0, 6, 0, 0, 0, 2, 0x7b, 0x7d, 1],
      [0x7e, 0, 0, 0, 5, 0, 6, 0, 0, 0, 40, 0x7b, 0x7d, 1],
      [0x7e, 0, 0, 0, 5, 0, 6, 0, 0, 0x0f, 0xff, 0x7b, 1, 1],
    ]
    for decoy in decoys {
      let bytes = try stream(payload: decoy, description: described(decoy.count))
      let outcome = decode(bytes)
      #expect(outcome.error == nil)
      #expect(try state(outcome)?.sections().first?.payload.count == decoy.count)
    }
  }

  @Test func `more false ends than the limit are refused`() throws {
    let decoy: [UInt8] = [0x7e, 0, 0, 0, 5, 0, 6, 0, 0, 0, 40, 0x7b]
    let payload = (0..<17).flatMap { _ in decoy }
    let outcome = decode(try stream(payload: payload, description: described(payload.count)))
    #expect(outcome.error?.kind == .limitExceeded)
  }

  @Test func `an empty description ends the state by its footers`() throws {
    let outcome = decode(try stream(payload: [1, 2, 3], description: Array("{}".utf8)))
    #expect(outcome.error == nil)
    #expect(try state(outcome)?.sections().first?.payload == [1, 2, 3])
  }

  @Test func `a machine without devices has an empty state`() throws {
    var bytes = try stream(payload: [], description: nil)
    let full = try #require(bytes.firstPlace(of: [4, 0, 0, 0, 5]))
    bytes.replaceSubrange(full..., with: [0, 6, 0, 0, 0, 2, 0x7b, 0x7d])
    let outcome = decode(bytes)
    #expect(outcome.error == nil)
    #expect(state(outcome)?.bytes == [])
    bytes.replaceSubrange(full..., with: [0, 6, 0, 0, 0, 2, 0x7b, 0x7b])
    #expect(decode(bytes).error?.kind == .malformedDescription)
    bytes.replaceSubrange(full..., with: [0, 1])
    #expect(decode(bytes).error?.kind == .unexpectedElement)
  }

  @Test func `without a description the end of the input decides, if that was said`() throws {
    let bytes = try stream(payload: [1, 2, 3], description: nil)
    let outcome = decode(bytes, .init(expectsDeviceDescription: false))
    #expect(outcome.error == nil)
    #expect(state(outcome)?.description == nil)
    #expect(decode(bytes).error?.kind == .truncated)
    let cut = Array(bytes.dropLast())
    #expect(decode(cut, .init(expectsDeviceDescription: false)).error?.kind == .truncated)
  }

  @Test func `early sections are told apart from the state at the end`() throws {
    let events = decode(try Seeds.stream("early-and-opaque")).events
    let early = events.compactMap {
      if case .earlyDeviceState(let bytes) = $0 { bytes } else { nil }
    }
    #expect(early.count == 1)
    let sections = try DeviceState(bytes: early[0], description: nil).sections()
    #expect(sections.map(\.header.name) == ["early"])
    #expect(sections[0].payload == [1, 0x7e, 2])
  }

  @Test func `sections between parts of the RAM are early ones too`() throws {
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "m"))
    try encoder.appendSectionStart(.ram(id: 1))
    try encoder.appendRAMSetup([RAMBlockDescription(name: "a", usedLength: 4096)])
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 1)
    try encoder.appendFullSection(
      SectionHeader(id: 7, name: "early", instanceID: 0, versionID: 1), payload: [2, 0, 0, 0, 1])
    encoder.appendSectionPart(id: 1)
    try encoder.appendZeroPage(RAMPageAddress(blockIndex: 0, offset: 0))
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 1)
    encoder.appendSectionEnd(id: 1)
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 1)
    encoder.appendEndOfStream()
    encoder.appendDescription()
    let outcome = decode(encoder.buffer)
    #expect(outcome.error == nil)
    #expect(outcome.calls.contains(.zero(RAMPageAddress(blockIndex: 0, offset: 0), fill: 0)))
  }

  @Test func `an early section may be followed by the start of another`() throws {
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "m"))
    try encoder.appendSectionStart(.ram(id: 1))
    try encoder.appendRAMSetup([RAMBlockDescription(name: "a", usedLength: 4096)])
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 1)
    try encoder.appendFullSection(
      SectionHeader(id: 7, name: "early", instanceID: 0, versionID: 1), payload: [1])
    let bitmaps = SectionHeader(id: 3, name: "dirty-bitmap", instanceID: 0, versionID: 1)
    try encoder.appendSectionStart(bitmaps)
    encoder.append(verbatim: [1])
    encoder.appendFooter(id: 3)
    let outcome = decode(encoder.buffer)
    #expect(outcome.error?.kind == .truncated)
    #expect(outcome.events.contains(.sectionStart(bitmaps)))
  }

  @Test func `a state larger than the limit is refused`() throws {
    var options = StreamDecoder.Options()
    options.limits.deviceStateSize = 64
    let payload = [UInt8](repeating: 1, count: 200)
    let outcome = decode(try stream(payload: payload, description: described(200)), options)
    #expect(outcome.error?.kind == .limitExceeded)
  }

  @Test func `page sizes of blocks are read where they are`() throws {
    let huge: UInt64 = 0x20_0000
    for sizes: [UInt64?] in [[nil, nil], [huge, nil], [nil, huge], [huge, huge]] {
      var encoder = StreamEncoder()
      encoder.appendHeader()
      try encoder.append(StreamConfiguration(machine: "m"))
      try encoder.append(
        .postcopyAdvise(PostcopyAdvice(pageSizeSummary: 0x20_1000, targetPageSize: 4096)))
      try encoder.appendSectionStart(.ram(id: 1))
      let blocks = sizes.enumerated().map { index, size in
        RAMBlockDescription(name: "b\(index)", usedLength: 0x20_0000, pageSize: size)
      }
      try encoder.appendRAMSetup(blocks)
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 1)
      #expect(decode(encoder.buffer).events.firstBlocks == blocks)
    }
  }
}
