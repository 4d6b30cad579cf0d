// EncoderTests.swift: what the encoder writes, byte for byte, and what it refuses.

import Testing
import WireLab

@testable import Wire

@Suite struct EncoderTests {
  @Test func `a record names its block once and whenever it changes`() throws {
    var encoder = StreamEncoder(blockNames: ["a", "b"])
    func zero(_ block: Int) -> RAMPageAddress { RAMPageAddress(blockIndex: block, offset: 0x1000) }
    try encoder.appendZeroPage(zero(0))
    try encoder.appendZeroPage(zero(0))
    try encoder.appendZeroPage(zero(1))
    encoder.forgetNamedBlock()
    try encoder.appendZeroPage(zero(1))
    let named: [UInt8] = [0, 0, 0, 0, 0, 0, 0x10, 2, 1]
    #expect(
      encoder.buffer
        == named + [0x61, 0] + [0, 0, 0, 0, 0, 0, 0x10, 0x22, 0] + named + [0x62, 0] + named
        + [0x62, 0])
  }

  @Test func `commands have the layout that QEMU reads`() throws {
    let cases: [(VMCommand, [UInt8])] = [
      (.openReturnPath, [8, 0, 1, 0, 0]),
      (.ping(0x0102_0304), [8, 0, 2, 0, 4, 1, 2, 3, 4]),
      (.postcopyAdvise(nil), [8, 0, 3, 0, 0]),
      (
        .postcopyAdvise(PostcopyAdvice(pageSizeSummary: 0x1000, targetPageSize: 0x1000)),
        [8, 0, 3, 0, 16, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0, 0, 0x10, 0]
      ),
      (.postcopyListen, [8, 0, 4, 0, 0]), (.postcopyRun, [8, 0, 5, 0, 0]),
      (
        .ramDiscard(block: "a", ranges: [RAMDiscardRange(start: 1, length: 2)]),
        [8, 0, 6, 0, 20, 0, 1, 0x61, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2]
      ),
      (.packaged([9, 9]), [8, 0, 7, 0, 4, 0, 0, 0, 2, 9, 9]), (.enableCOLO([]), [8, 0, 8, 0, 0]),
      (.postcopyResume, [8, 0, 9, 0, 0]), (.receiveBitmap(block: "a"), [8, 0, 10, 0, 2, 1, 0x61]),
      (.switchoverStart, [8, 0, 11, 0, 0]),
    ]
    for (command, bytes) in cases {
      var encoder = StreamEncoder()
      try encoder.append(command)
      #expect(encoder.buffer == bytes, "\(command)")
      encoder = StreamEncoder()
      encoder.appendHeader()
      let outcome = Outcome(encoder.buffer + bytes, options: .init()) { 1 }
      #expect(outcome.events == [.header, .command(command)])
    }
  }

  @Test func `what has no form on the wire is refused`() throws {
    var encoder = StreamEncoder()
    let long = String(repeating: "x", count: 256)
    let ranges = [RAMDiscardRange](repeating: RAMDiscardRange(start: 0, length: 1), count: 5000)
    let attempts: [(inout StreamEncoder) throws -> Void] = [
      { try $0.append(.receiveBitmap(block: long)) },
      { try $0.append(.ramDiscard(block: "a", ranges: ranges)) },
      { try $0.append(StreamConfiguration(machine: "m", uuid: [1])) },
      { try $0.append(StreamConfiguration(machine: "m", capabilities: [long])) },
      { try $0.appendRAMSetup([RAMBlockDescription(name: "a", usedLength: 5)]) },
      { try $0.appendRAMSetup([RAMBlockDescription(name: long, usedLength: 4096)]) },
      { try $0.appendSectionStart(SectionHeader(id: 1, name: long, instanceID: 0, versionID: 0)) },
    ]
    for (index, attempt) in attempts.enumerated() {
      let error = #expect(throws: WireError.self) { try attempt(&encoder) }
      #expect(error?.kind == .notEncodable, "attempt \(index)")
    }
  }

  @Test func `a package comes back as it was`() throws {
    for ping in [nil, 3] as [UInt32?] {
      let package = PackagedState(deviceBytes: try Seeds.deviceBytes(), ping: ping)
      #expect(try PackagedState(parsing: package.encoded()) == package)
    }
    for blob in [[], [8, 0, 4, 0, 0], [8, 0, 5, 0, 0, 8, 0, 4, 0, 0]] as [[UInt8]] {
      #expect(throws: WireError.self) { try PackagedState(parsing: blob) }
    }
  }

  @Test func `dirty-bitmap records come back as they were`() throws {
    let chunks = [
      DirtyBitmapChunk(
        node: "n", bitmap: "b", content: .start(granularity: 4096, flags: 3), endsSection: false),
      DirtyBitmapChunk(
        node: nil, bitmap: nil, content: .bits(sector: 1, sectorCount: 2, data: nil),
        endsSection: false),
      DirtyBitmapChunk(node: nil, bitmap: nil, content: .none, endsSection: true),
    ]
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.appendSectionStart(
      SectionHeader(id: 4, name: "dirty-bitmap", instanceID: 0, versionID: 1))
    for chunk in chunks { try encoder.append(chunk) }
    encoder.appendFooter(id: 4)
    let events = Outcome(encoder.buffer, options: .init()) { 1 }.events
    #expect(events.suffix(3) == chunks.map { .dirtyBitmapChunk($0) }[...])
  }
}
