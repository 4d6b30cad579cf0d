// The source machines' elements and pages as bytes: the one place where decisions of a source
// meet the wire's encoder.

public import Wire

/// What every encoder of one source needs to know.
public struct SourceFormat: Sendable {
  /// The blocks with the page size they are placed in, which every one has here.
  public let blocks: [RAMBlockDescription]
  /// The blocks as the RAM section announces them.
  public let announcedBlocks: [RAMBlockDescription]
  /// The size of a target page in bytes.
  public let targetPageSize: Int

  private let configuration: StreamConfiguration
  private let ramSectionID: UInt32
  private let usesFooters: Bool
  /// The state of the devices; nil as long as the machine runs.
  public var deviceState: DeviceState?

  /// Takes the facts of a source down.
  ///
  /// The page sizes of `blocks` are the destination's; a block without one is made of its ordinary
  /// pages, of `ordinaryPageSize` bytes. Page sizes travel only in postcopy, and only for blocks
  /// that are not made of ordinary pages. Without a `deviceState` it has to be set before an
  /// element that carries it is encoded; sections then have footers.
  public init(
    configuration: StreamConfiguration, blocks: [RAMBlockDescription], targetPageSize: Int,
    ramSectionID: UInt32, deviceState: DeviceState?, ordinaryPageSize: Int, isPostcopy: Bool
  ) {
    self.configuration = configuration
    self.targetPageSize = targetPageSize
    self.ramSectionID = ramSectionID
    self.deviceState = deviceState
    usesFooters = deviceState?.usesFooters ?? true
    let usual = UInt64(max(ordinaryPageSize, targetPageSize))
    let sized = blocks.map { block in
      var block = block
      block.pageSize = isPostcopy ? max(block.pageSize ?? usual, usual) : UInt64(targetPageSize)
      return block
    }
    self.blocks = sized
    announcedBlocks = sized.map { block in
      var block = block
      if !isPostcopy || block.pageSize == usual { block.pageSize = nil }
      return block
    }
  }

  /// What announces a postcopy of this machine.
  public var advice: PostcopyAdvice {
    PostcopyAdvice(blocks: blocks, targetPageSize: targetPageSize)
  }

  /// How many target pages each block has.
  public var pageCounts: [String: Int] {
    Dictionary(
      blocks.map { ($0.name, Int($0.usedLength / UInt64(targetPageSize))) },
      uniquingKeysWith: { first, _ in first })
  }

  /// An encoder for one writing thread.
  public func encoder() -> StreamEncoder {
    StreamEncoder(
      targetPageSize: targetPageSize, usesFooters: usesFooters,
      blockNames: blocks.map(\.name))
  }

  /// Appends elements as they go on the wire.
  public func append(
    _ elements: [SourceElement], to encoder: inout StreamEncoder
  ) throws(WireError) {
    for element in elements { try append(element, to: &encoder) }
  }

  private func append(_ element: SourceElement, to encoder: inout StreamEncoder) throws(WireError) {
    switch element {
    case .header: encoder.appendHeader()
    case .configuration: try encoder.append(configuration)
    case .openReturnPath: try encoder.append(.openReturnPath)
    case .ping(let value): try encoder.append(.ping(value))
    case .advise(let summary, let size):
      try encoder.append(
        .postcopyAdvise(PostcopyAdvice(pageSizeSummary: summary, targetPageSize: size)))
    case .ramSetup:
      try encoder.appendSectionStart(.ram(id: ramSectionID))
      try encoder.appendRAMSetup(announcedBlocks)
      endSection(&encoder)
    case .discard(let index, let ranges):
      try encoder.append(
        .ramDiscard(
          block: blocks[index].name,
          ranges: ranges.map {
            RAMDiscardRange(start: $0.lowerBound, length: $0.upperBound - $0.lowerBound)
          }))
    case .package: try appendPackage(to: &encoder)
    case .askReceivedBitmap(let index):
      try encoder.append(.receiveBitmap(block: blocks[index].name))
    case .resume: try encoder.append(.postcopyResume)
    case .ramEnd:
      encoder.appendSectionEnd(id: ramSectionID)
      endSection(&encoder)
    case .deviceState: encoder.append(verbatim: try carriedState().bytes)
    case .endOfStream: encoder.appendEndOfStream()
    case .description:
      // QEMU waits for a description after the end and does not read it: an empty one will do.
      encoder.appendDescription(deviceState?.description ?? Array("{}".utf8))
    }
  }

  private func carriedState() throws(WireError) -> DeviceState {
    guard let deviceState else {
      throw WireError(
        .notEncodable, at: 0, reading: "the state of the devices",
        expected: "a machine that was stopped", found: "no state")
    }
    return deviceState
  }

  private func appendPackage(to encoder: inout StreamEncoder) throws(WireError) {
    var blob = self.encoder()
    try blob.append(.postcopyListen)
    blob.append(verbatim: try carriedState().bytes)
    try blob.append(.ping(3))
    try blob.append(.postcopyRun)
    try encoder.append(.packaged(blob.buffer))
  }

  /// Begins a part of the RAM section whose first page names its block: parts of several writers
  /// follow one another in any order.
  public func beginPart(_ encoder: inout StreamEncoder) {
    encoder.appendSectionPart(id: ramSectionID)
    encoder.forgetNamedBlock()
  }

  /// Ends a part of the RAM section.
  public func endSection(_ encoder: inout StreamEncoder) {
    encoder.appendRAMEndOfSection()
    encoder.appendFooter(id: ramSectionID)
  }
}
