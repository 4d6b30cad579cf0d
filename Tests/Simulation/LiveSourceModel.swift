// A running QEMU that is being saved, as its stream shows it: passes over memory that changes
// meanwhile, deltas among the pages, then the devices.

import Wire

/// The stream of a running machine, and the memory it ends with.
public struct LiveSourceModel {
  /// The stream from its first byte to its last.
  public let stream: [UInt8]
  /// What memory holds when the machine stops: target pages that are not all zero.
  public let memory: [RAMPageAddress: [UInt8]]
  /// Whether the source waits for SHUT on a return path.
  public let hasReturnPath: Bool

  /// The stream of `machine` under `seed`.
  public init(machine: ModelMachine, seed: UInt64) throws {
    var random = SeededRandom(seed: seed)
    hasReturnPath = random.chance(50)
    var blocks = machine.blocks
    for index in blocks.indices { blocks[index].pageSize = nil }
    var encoder = StreamEncoder(
      targetPageSize: machine.targetPageSize, blockNames: blocks.map(\.name))
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "pc-q35-10.0", targetPageBits: 10))
    if hasReturnPath {
      try encoder.append(.openReturnPath)
      try encoder.append(.ping(1))
    }
    if hasReturnPath, random.chance(30) {
      let size = UInt64(machine.targetPageSize)
      try encoder.append(
        .postcopyAdvise(PostcopyAdvice(pageSizeSummary: size, targetPageSize: size)))
    }
    try encoder.appendSectionStart(.ram(id: machine.ramSectionID))
    try encoder.appendRAMSetup(blocks)
    Self.end(&encoder, machine)

    let pages = blocks.indices.flatMap { index in
      stride(from: 0, to: blocks[index].usedLength, by: machine.targetPageSize).map {
        RAMPageAddress(blockIndex: index, offset: $0)
      }
    }
    var memory: [RAMPageAddress: [UInt8]] = [:]
    for page in pages { memory[page] = machine.content(page) }
    var dirty = pages
    var known: [RAMPageAddress: [UInt8]] = [:]
    for pass in 0...random.below(5) {
      encoder.appendSectionPart(id: machine.ramSectionID)
      for page in dirty {
        try Self.send(page, memory[page], known[page], pass, machine, &encoder, &random)
        known[page] = memory[page] ?? []
      }
      Self.end(&encoder, machine)
      // Pages whose writes are not known yet stay out of date; the last pass sends them.
      dirty = pages.filter { _ in random.chance(20) }
      for page in dirty { Self.change(page, &memory, machine, &random) }
      guard random.chance(20) else { continue }
      encoder.appendSectionPart(id: machine.ramSectionID)
      Self.end(&encoder, machine)
    }
    encoder.appendSectionEnd(id: machine.ramSectionID)
    for page in dirty {
      try Self.send(page, memory[page], known[page], 9, machine, &encoder, &random)
    }
    Self.end(&encoder, machine)
    encoder.append(verbatim: machine.deviceState.bytes)
    encoder.appendEndOfStream()
    encoder.appendDescription(machine.deviceState.description ?? [])
    stream = encoder.buffer
    self.memory = memory.filter { $0.value.contains { $0 != 0 } }
  }

  private static func send(
    _ page: RAMPageAddress, _ content: [UInt8]?, _ known: [UInt8]?, _ pass: Int,
    _ machine: ModelMachine, _ encoder: inout StreamEncoder, _ random: inout SeededRandom
  ) throws {
    guard let content else {
      try encoder.appendZeroPage(page)
      return
    }
    if pass > 0, let known, known.count == content.count, random.chance(50) {
      let delta = known.withUnsafeBytes { old in
        content.withUnsafeBytes { new in XBZRLE.encode(old: old.bytes, new: new.bytes) }
      }
      if let delta, !delta.isEmpty {
        try delta.withUnsafeBytes { try encoder.appendDelta(page, xbzrle: $0.bytes) }
        return
      }
    }
    try encoder.appendPageHeader(page)
    encoder.buffer += content
  }

  private static func change(
    _ page: RAMPageAddress, _ memory: inout [RAMPageAddress: [UInt8]], _ machine: ModelMachine,
    _ random: inout SeededRandom
  ) {
    if random.chance(15) {
      memory[page] = nil
      return
    }
    var content = memory[page] ?? [UInt8](repeating: 0, count: machine.targetPageSize)
    for _ in 0..<(1 + random.below(5)) {
      content[random.below(content.count)] = UInt8(truncatingIfNeeded: random.next())
    }
    memory[page] = content
  }

  private static func end(_ encoder: inout StreamEncoder, _ machine: ModelMachine) {
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: machine.ramSectionID)
  }
}
