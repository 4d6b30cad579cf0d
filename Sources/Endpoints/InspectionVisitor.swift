// What a stream says, gathered for an inspection while it is decoded.

import Wire

/// Gathers everything from a stream but the pages' bytes.
struct InspectionVisitor: StreamVisitor {
  private(set) var configuration: StreamConfiguration?
  private(set) var targetPageSize = 4096
  private(set) var blocks: [RAMBlockDescription] = []
  private(set) var pages = InspectionPageTable()
  private(set) var earlyState: [UInt8] = []
  private(set) var deviceState: DeviceState?
  private(set) var description: [UInt8]?
  /// How often a page came as a delta, whose result is not known without its base.
  private(set) var deltaCount: UInt64 = 0
  /// The device state of a postcopy, which has no description.
  private(set) var package: PackagedState?

  /// Parts of the stream in the order in which they began; RAM's bytes are left for the end.
  private var tallies: [Tally] = []
  /// The tally of each section that comes in parts.
  private var tallyOfSection: [UInt32: Int] = [:]
  private var ramTally: Int?
  /// The section whose part is being read.
  private var current: UInt32 = 0
  /// Writes elements again, to learn how long they are.
  private var scale = StreamEncoder(usesFooters: false)

  private struct Tally {
    let name: String
    var count = 0
    var byteCount: UInt64 = 0
    var footerCount: UInt64 = 0
  }

  mutating func visit(_ event: StreamEvent) throws {
    switch event {
    case .header: add("header", 8)
    case .configuration(let configuration):
      self.configuration = configuration
      if let bits = configuration.targetPageBits { targetPageSize = 1 << Int(bits) }
      add(
        "configuration",
        try weigh { encoder throws(WireError) in
          try encoder.append(configuration)
        })
    case .command(let command): try visit(command)
    case .sectionStart(let header): try begin(header)
    case .sectionPart(let id), .sectionEnd(let id): next(id, byteCount: 5)
    case .ramBlocks(let blocks):
      self.blocks = blocks
      pages.announce(blockCount: blocks.count, pageSize: targetPageSize)
    case .multifdFlush, .ramEndOfSection: break
    case .dirtyBitmapChunk(let chunk):
      grow(current, by: try weigh { encoder throws(WireError) in try encoder.append(chunk) })
    case .opaqueSection(let id, let payload): grow(id, by: UInt64(payload.count))
    case .earlyDeviceState(let bytes):
      earlyState += bytes
      add("early devices", UInt64(bytes.count))
    case .deviceState(let state):
      deviceState = state
      add("devices", UInt64(state.bytes.count))
    case .endOfStream: add("end", 1)
    case .vmDescription(let json):
      description = json
      add("description", UInt64(json.count) + 5)
    }
  }

  mutating func visitPage(_ page: RAMPageAddress, content: RawSpan) throws {
    pages.set(
      block: page.blockIndex, offset: page.offset, fingerprint: InspectionFingerprint.of(content))
  }

  mutating func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) throws {
    // A page filled with something else is the same as every other page filled with it.
    pages.set(block: page.blockIndex, offset: page.offset, fingerprint: UInt64(fill))
  }

  mutating func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) throws {
    guard xbzrle.byteCount > 0 else { return }
    deltaCount += 1
    let base = pages.fingerprint(block: page.blockIndex, offset: page.offset)
    pages.set(
      block: page.blockIndex, offset: page.offset,
      fingerprint: InspectionFingerprint.of(xbzrle, seed: base | 1))
  }

  /// The parts of a stream of so many bytes; RAM takes what the others leave.
  func parts(streamByteCount: UInt64) -> [InspectedPart] {
    let footerByteCount: UInt64 = deviceState?.usesFooters == false ? 0 : 5
    var parts = tallies.map { tally in
      InspectedPart(
        name: tally.name, count: tally.count,
        byteCount: tally.byteCount + tally.footerCount * footerByteCount)
    }
    guard let ramTally else { return parts }
    let others = parts.indices.reduce(UInt64(0)) { $1 == ramTally ? $0 : $0 + parts[$1].byteCount }
    parts[ramTally] = InspectedPart(
      name: "ram", count: tallies[ramTally].count,
      byteCount: streamByteCount - min(others, streamByteCount))
    return parts
  }

  private mutating func visit(_ command: VMCommand) throws {
    switch command {
    case .postcopyAdvise(let advice?): targetPageSize = Int(clamping: advice.targetPageSize)
    case .packaged(let blob): package = try PackagedState(parsing: blob)
    default: break
    }
    add("commands", try weigh { encoder throws(WireError) in try encoder.append(command) })
  }

  private mutating func begin(_ header: SectionHeader) throws {
    let byteCount = try weigh { encoder throws(WireError) in
      try encoder.appendSectionStart(header)
    }
    tallyOfSection[header.id] = tallies.count
    if header.name == "ram" { ramTally = tallies.count }
    tallies.append(Tally(name: header.name))
    next(header.id, byteCount: byteCount)
  }

  private mutating func next(_ id: UInt32, byteCount: UInt64) {
    current = id
    guard let index = tallyOfSection[id] else { return }
    tallies[index].count += 1
    tallies[index].footerCount += 1
    tallies[index].byteCount += byteCount
  }

  private mutating func grow(_ id: UInt32, by byteCount: UInt64) {
    guard let index = tallyOfSection[id] else { return }
    tallies[index].byteCount += byteCount
  }

  private mutating func add(_ name: String, _ byteCount: UInt64) {
    let index = tallies.firstIndex { $0.name == name } ?? tallies.count
    if index == tallies.count { tallies.append(Tally(name: name)) }
    tallies[index].count += 1
    tallies[index].byteCount += byteCount
  }

  private mutating func weigh(
    _ write: (inout StreamEncoder) throws(WireError) -> Void
  ) throws(WireError) -> UInt64 {
    scale.buffer.removeAll(keepingCapacity: scale.buffer.capacity < 1 << 16)
    try write(&scale)
    return UInt64(scale.buffer.count)
  }
}
