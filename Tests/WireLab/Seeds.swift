// Seeds.swift: the synthetic part of the corpus: small inputs that touch everything.

package import Wire

/// Streams of a machine with pages of 1 KiB, two blocks and three devices.
package enum Seeds {
  package static let blocks = [
    RAMBlockDescription(name: "a.ram", usedLength: 8192),
    RAMBlockDescription(name: "b", usedLength: 3072),
  ]
  package static let recovery = StreamDecoder.Recovery(
    ramSectionID: 2, blocks: blocks, targetPageSize: 1024)
  package static let pageCounts = ["a.ram": 8, "b": 3]

  package static let description = """
    {"page_size":1024,"devices":[{"name":"timer","instance_id":0,"vmsd_name":"timer",\
    "version":2,"fields":[{"name":"t","type":"timer","size":8},{"name":"n","array_len":3,\
    "type":"uint16","size":2}],"subsections":[{"vmsd_name":"timer/x","version":1,"fields":[\
    {"name":"on","type":"bool","size":1}]}]},{"name":"bus/q","instance_id":1,"vmsd_name":"q",\
    "version":1,"fields":[{"name":"list","type":"qtailq","vmsd_name":"e","version":1,"fields":[\
    {"name":"v","type":"uint8","size":1}],"size":3},{"name":"s","type":"struct","struct":{\
    "vmsd_name":"s","version":1,"fields":[{"name":"b","type":"buffer","size":2}]},"size":2}]},\
    {"name":"globalstate","instance_id":0,"size":104,"fields":[{"name":"data","size":104,\
    "type":"buffer"}]}]}
    """

  /// All of them, by the names of their files.
  package static func all() throws -> [(name: String, bytes: [UInt8])] {
    let others: [(String, [UInt8])] = [
      ("suppressed.undescribed", try suppressed()),
      ("recovery.recovery", try recovered()),
      ("messages.returnpath", try messages()), ("hashes.known", try hashes()),
      ("announcement.knownpath", try announcement()),
      ("runs.delta", [0, 2, 9, 8, 4, 1, 7, 0x80, 1, 3, 1, 2, 3]),
      ("whole.delta", [0, 0x80, 8] + [UInt8](repeating: 3, count: 1024)),
    ]
    return others + (try streamNames.map { ($0 + ".stream", try stream($0)) })
  }

  private static let streamNames = [
    "precopy", "records", "early-and-opaque", "postcopy", "background", "no-footers",
    "bare-description", "early-after-start",
  ]

  /// The stream of that name.
  package static func stream(_ name: String) throws -> [UInt8] {
    switch name {
    case "records": try records()
    case "early-and-opaque": try earlyAndOpaque()
    case "postcopy": try postcopy()
    case "background": try background()
    case "no-footers": try precopy(usesFooters: false)
    case "bare-description": try bareDescription()
    case "early-after-start": try earlyAfterStart()
    default: try precopy()
    }
  }

  /// The FULL sections of the machine's three devices.
  package static func deviceBytes() throws -> [UInt8] {
    var encoder = StreamEncoder(targetPageSize: 1024)
    try devices(&encoder)
    return encoder.buffer
  }

  private static func begin(_ capabilities: [String]? = nil, usesFooters: Bool = true)
    throws -> StreamEncoder
  {
    var encoder = StreamEncoder(targetPageSize: 1024, usesFooters: usesFooters)
    encoder.appendHeader()
    try encoder.append(
      StreamConfiguration(
        machine: "m-1", targetPageBits: 10, capabilities: capabilities,
        uuid: capabilities == nil ? nil : [UInt8](0..<16)))
    return encoder
  }

  private static func setup(_ encoder: inout StreamEncoder) throws {
    try encoder.appendSectionStart(.ram(id: 2))
    try encoder.appendRAMSetup(blocks)
    endPart(&encoder)
  }

  private static func endPart(_ encoder: inout StreamEncoder) {
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: 2)
  }

  private static func append(
    _ block: Int, _ offset: UInt64, fill: UInt8?, _ encoder: inout StreamEncoder
  ) throws {
    let page = RAMPageAddress(blockIndex: block, offset: offset)
    guard let fill else { return try encoder.appendZeroPage(page) }
    let content = [UInt8](repeating: fill, count: 1024)
    try content.withBytes(0..<1024) { try encoder.appendPage(page, content: $0) }
  }

  private static func devices(_ encoder: inout StreamEncoder) throws {
    try encoder.appendFullSection(
      SectionHeader(id: 9, name: "timer", instanceID: 0, versionID: 2),
      payload: [UInt8](repeating: 0xff, count: 8) + [0, 1, 0, 2, 0, 3, 5, 7]
        + Array("timer/x".utf8) + [0, 0, 0, 1, 1])
    try encoder.appendFullSection(
      SectionHeader(id: 10, name: "bus/q", instanceID: 1, versionID: 1),
      payload: [1, 42, 0, 0x7e, 0])
    try encoder.appendFullSection(
      SectionHeader(id: 11, name: GlobalState.sectionName, instanceID: 0, versionID: 1),
      payload: try GlobalState(runState: "running").payload())
  }

  private static func precopy(usesFooters: Bool = true) throws -> [UInt8] {
    var encoder = try begin(usesFooters: usesFooters)
    try setup(&encoder)
    encoder.appendSectionPart(id: 2)
    try append(0, 0, fill: 7, &encoder)
    try append(0, 1024, fill: nil, &encoder)
    endPart(&encoder)
    encoder.appendSectionEnd(id: 2)
    endPart(&encoder)
    try devices(&encoder)
    encoder.appendEndOfStream()
    encoder.appendDescription(Array(description.utf8))
    return encoder.buffer
  }

  private static func records() throws -> [UInt8] {
    var encoder = try begin(["x-ignore-shared"])
    try encoder.append(.openReturnPath)
    try encoder.append(.ping(1))
    try encoder.append(.enableCOLO([]))
    try encoder.appendSectionStart(.ram(id: 2))
    try encoder.appendRAMSetup(
      blocks.map {
        RAMBlockDescription(name: $0.name, usedLength: $0.usedLength, guestAddress: 1 << 32)
      })
    encoder.appendMultifdFlush()
    endPart(&encoder)
    encoder.appendSectionPart(id: 2)
    try append(1, 2048, fill: nil, &encoder)
    let delta: [UInt8] = [0, 2, 9, 8, 4, 1, 7]
    try delta.withBytes(0..<delta.count) {
      try encoder.appendDelta(RAMPageAddress(blockIndex: 1, offset: 0), xbzrle: $0)
    }
    // A page that zlib made smaller, as QEMU 7.2 sends it: 1024 times 0x61.
    let packed: [UInt8] = [
      0x78, 0x9c, 0x4b, 0x4c, 0x1c, 0x05, 0xa3, 0x60, 0x14, 0x8c, 0x54, 0x00, 0x00, 0xf3, 0x78,
      0x84, 0x10,
    ]
    encoder.append(verbatim: [0, 0, 0, 0, 0, 0, 5, 0x20, 0, 0, 0, UInt8(packed.count)] + packed)
    try append(0, 7168, fill: nil, &encoder)
    endPart(&encoder)
    try encoder.append(.switchoverStart)
    encoder.appendSectionEnd(id: 2)
    endPart(&encoder)
    try devices(&encoder)
    encoder.appendEndOfStream()
    encoder.appendDescription(Array(description.utf8))
    return encoder.buffer
  }

  private static func earlyAndOpaque() throws -> [UInt8] {
    var encoder = try begin()
    try encoder.append(.postcopyAdvise(nil))
    try encoder.appendFullSection(
      SectionHeader(id: 20, name: "early", instanceID: 0, versionID: 1), payload: [1, 0x7e, 2])
    try setup(&encoder)
    let bitmaps = SectionHeader(id: 3, name: "dirty-bitmap", instanceID: 0, versionID: 1)
    try encoder.appendSectionStart(bitmaps)
    try encoder.append(
      DirtyBitmapChunk(
        node: "d", bitmap: "b", content: .start(granularity: 65536, flags: 1),
        endsSection: true))
    encoder.appendFooter(id: 3)
    try encoder.appendSectionStart(
      SectionHeader(id: 4, name: "htab", instanceID: 0, versionID: 1))
    encoder.append(verbatim: [1, 2, 0x7e, 0, 0, 0, 4, 9])
    encoder.appendFooter(id: 4)
    encoder.appendSectionEnd(id: 2)
    endPart(&encoder)
    encoder.appendSectionEnd(id: 3)
    try encoder.append(
      DirtyBitmapChunk(
        node: "d", bitmap: "b",
        content: .bits(sector: 0, sectorCount: 8, data: [UInt8](repeating: 3, count: 32)),
        endsSection: false))
    try encoder.append(
      DirtyBitmapChunk(node: nil, bitmap: nil, content: .complete, endsSection: true))
    encoder.appendFooter(id: 3)
    encoder.appendSectionEnd(id: 4)
    encoder.append(verbatim: [5])
    encoder.appendFooter(id: 4)
    try devices(&encoder)
    encoder.appendEndOfStream()
    encoder.appendDescription(Array(description.utf8))
    return encoder.buffer
  }

  private static func earlyAfterStart() throws -> [UInt8] {
    var encoder = try begin()
    try setup(&encoder)
    for id in [20, 21] as [UInt32] {
      try encoder.appendFullSection(
        SectionHeader(id: id, name: "early", instanceID: id, versionID: 1),
        payload: [0x7e, 0, 0, 0, 20, 2])
    }
    let bitmaps = SectionHeader(id: 3, name: "dirty-bitmap", instanceID: 0, versionID: 1)
    try encoder.appendSectionStart(bitmaps)
    encoder.append(verbatim: [1])
    encoder.appendFooter(id: 3)
    try encoder.appendFullSection(
      SectionHeader(id: 22, name: "later", instanceID: 0, versionID: 1), payload: [2])
    encoder.appendSectionPart(id: 2)
    try append(1, 0, fill: nil, &encoder)
    endPart(&encoder)
    encoder.appendSectionEnd(id: 2)
    endPart(&encoder)
    encoder.appendSectionEnd(id: 3)
    encoder.append(verbatim: [1])
    encoder.appendFooter(id: 3)
    try devices(&encoder)
    encoder.appendEndOfStream()
    encoder.appendDescription(Array(description.utf8))
    return encoder.buffer
  }

  private static func postcopy() throws -> [UInt8] {
    var encoder = try begin()
    try encoder.append(
      .postcopyAdvise(PostcopyAdvice(pageSizeSummary: 0x20_1000, targetPageSize: 1024)))
    try encoder.appendSectionStart(.ram(id: 2))
    try encoder.appendRAMSetup([
      RAMBlockDescription(name: "a.ram", usedLength: 8192, pageSize: 0x20_0000), blocks[1],
    ])
    endPart(&encoder)
    try encoder.append(
      .ramDiscard(block: "a.ram", ranges: [RAMDiscardRange(start: 0, length: 8192)]))
    try encoder.append(.ping(2))
    try encoder.append(.packaged(try PackagedState(deviceBytes: deviceBytes()).encoded()))
    try encoder.append(.ping(4))
    encoder.forgetNamedBlock()
    encoder.appendSectionPart(id: 2)
    try append(0, 4096, fill: 1, &encoder)
    endPart(&encoder)
    encoder.appendSectionEnd(id: 2)
    endPart(&encoder)
    encoder.appendEndOfStream()
    return encoder.buffer
  }

  private static func background() throws -> [UInt8] {
    var encoder = try begin()
    try setup(&encoder)
    encoder.appendSectionPart(id: 2)
    try append(1, 0, fill: nil, &encoder)
    endPart(&encoder)
    try devices(&encoder)
    encoder.appendEndOfStream()
    encoder.appendDescription(Array(description.utf8))
    return encoder.buffer
  }

  private static func bareDescription() throws -> [UInt8] {
    var encoder = try begin()
    try setup(&encoder)
    encoder.appendSectionEnd(id: 2)
    endPart(&encoder)
    try devices(&encoder)
    encoder.appendEndOfStream()
    encoder.appendDescription()
    return encoder.buffer
  }

  private static func suppressed() throws -> [UInt8] {
    var encoder = try begin()
    try setup(&encoder)
    encoder.appendSectionEnd(id: 2)
    endPart(&encoder)
    try devices(&encoder)
    encoder.appendEndOfStream()
    return encoder.buffer
  }

  private static func recovered() throws -> [UInt8] {
    var encoder = StreamEncoder(targetPageSize: 1024, blockNames: blocks.map(\.name))
    try encoder.append(.receiveBitmap(block: "a.ram"))
    try encoder.append(.receiveBitmap(block: "b"))
    try encoder.append(.postcopyResume)
    encoder.appendSectionPart(id: 2)
    try append(1, 0, fill: 1, &encoder)
    endPart(&encoder)
    encoder.appendSectionEnd(id: 2)
    endPart(&encoder)
    encoder.appendEndOfStream()
    return encoder.buffer
  }

  private static func messages() throws -> [UInt8] {
    var bitmap = ReceivedBitmap(pageCount: 8)
    bitmap[3] = true
    var result: [UInt8] = []
    let all: [ReturnPathMessage] = [
      .switchoverAcknowledge, .pong(1), .requestPages(block: "b", start: 0, length: 1024),
      .requestPages(block: nil, start: 1024, length: 1024),
      .receivedBitmap(block: "a.ram", bitmap: bitmap), .resumeAcknowledge(1), .shut(status: 0),
    ]
    for message in all { try message.encode(into: &result) }
    return result
  }

  /// A stream with pages by their hashes, of a machine with pages of 4 KiB.
  package static func hashes() throws -> [UInt8] {
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "m-1", targetPageBits: 12))
    try encoder.append(.openReturnPath)
    try encoder.append(.askKnownPages(limit: 1 << 16))
    try encoder.appendSectionStart(.ram(id: 2))
    try encoder.appendRAMSetup([
      RAMBlockDescription(name: "a.ram", usedLength: 16384),
      RAMBlockDescription(name: "b", usedLength: 8192),
    ])
    endPart(&encoder)
    encoder.appendSectionPart(id: 2)
    for (block, offset) in [(0, 0), (0, 4096), (1, 4096), (1, 0)] as [(Int, UInt64)] {
      let page = RAMPageAddress(blockIndex: block, offset: offset)
      try [UInt8](repeating: UInt8(block), count: 32).withBytes(0..<32) {
        try encoder.appendPageHash(page, digest: $0)
      }
    }
    try encoder.appendZeroPage(RAMPageAddress(blockIndex: 1, offset: 0))
    endPart(&encoder)
    try encoder.append(.ping(0x4757_0000))
    encoder.appendSectionEnd(id: 2)
    endPart(&encoder)
    try devices(&encoder)
    encoder.appendEndOfStream()
    encoder.appendDescription(Array(description.utf8))
    return encoder.buffer
  }

  /// What a destination says of pages that it holds, and of pages that it does not.
  package static func announcement() throws -> [UInt8] {
    var result: [UInt8] = []
    let all: [ReturnPathMessage] = [
      .pong(1), .knownPages(prefixes: [0, 1, 0x12_3456_789a, ReturnPathMessage.prefixMask]),
      .knownPages(prefixes: [7]), .knownPagesEnd(count: 5),
      .missedPages(block: "a.ram", offsets: [4096, 0]), .missedPages(block: "b", offsets: [0]),
      .pong(0x4757_0000), .shut(status: 0),
    ]
    for message in all { try message.encode(into: &result) }
    return result
  }

  /// Applies a delta, and says whether it could be.
  package static func apply(_ delta: [UInt8], to page: inout [UInt8]) -> Bool {
    delta.withBytes(0..<delta.count) { delta in
      var target = page.mutableSpan
      // SAFETY: the span ends with the closure, and the array is not touched otherwise.
      var bytes = unsafe target.mutableBytes
      do throws(WireError) {
        try XBZRLE.decode(delta, onto: &bytes)
        return true
      } catch {
        return false
      }
    }
  }
}
