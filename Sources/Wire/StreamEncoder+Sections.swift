// StreamEncoder+Sections.swift: section headers, footers, commands and dirty-bitmap records.

extension StreamEncoder {
  /// The header of a section that is sent in parts.
  /// - Throws: `WireError` of kind `notEncodable` if the name exceeds 255 bytes.
  public mutating func appendSectionStart(_ header: SectionHeader) throws(WireError) {
    try appendSectionHeader(.sectionStart, header)
  }

  /// The header of a further part of the section `id`.
  public mutating func appendSectionPart(id: UInt32) {
    buffer.append(ElementType.sectionPart.rawValue)
    buffer.append(bigEndian: id)
  }

  /// The header of the last part of the section `id`.
  public mutating func appendSectionEnd(id: UInt32) {
    buffer.append(ElementType.sectionEnd.rawValue)
    buffer.append(bigEndian: id)
  }

  /// A section that is sent whole: header, payload and footer.
  /// - Throws: `WireError` of kind `notEncodable` if the name exceeds 255 bytes.
  public mutating func appendFullSection(
    _ header: SectionHeader, payload: [UInt8]
  ) throws(WireError) {
    try appendSectionHeader(.sectionFull, header)
    buffer.append(contentsOf: payload)
    appendFooter(id: header.id)
  }

  /// What ends each part of the section `id`; nothing where the machine type has no footers.
  public mutating func appendFooter(id: UInt32) {
    guard usesFooters else { return }
    buffer.append(ElementType.footer.rawValue)
    buffer.append(bigEndian: id)
  }

  private mutating func appendSectionHeader(
    _ type: ElementType, _ header: SectionHeader
  ) throws(WireError) {
    buffer.append(type.rawValue)
    buffer.append(bigEndian: header.id)
    try appendText(header.name, "the name of a section")
    buffer.append(bigEndian: header.instanceID)
    buffer.append(bigEndian: header.versionID)
  }

  /// A command.
  ///
  /// A discard of more ranges than one command carries has to be split by the caller; QEMU itself
  /// puts at most `VMCommand.discardRangeCount` into one.
  /// - Throws: `WireError` of kind `notEncodable` if a name exceeds 255 bytes, a payload 65,535
  ///   bytes or a blob 4 GiB.
  public mutating func append(_ command: VMCommand) throws(WireError) {
    switch command {
    case .openReturnPath: try appendCommand(.openReturnPath)
    case .ping(let value): try appendCommand(.ping) { $0.append(bigEndian: value) }
    case .postcopyAdvise(nil): try appendCommand(.postcopyAdvise)
    case .postcopyAdvise(let advice?):
      try appendCommand(.postcopyAdvise) { payload in
        payload.append(bigEndian: advice.pageSizeSummary)
        payload.append(bigEndian: advice.targetPageSize)
      }
    case .postcopyListen: try appendCommand(.postcopyListen)
    case .postcopyRun: try appendCommand(.postcopyRun)
    case .ramDiscard(let block, let ranges):
      let name = try CountedText(block, "the name of a block to discard from")
      try appendCommand(.ramDiscard) { payload in
        payload.append(0)
        name.append(to: &payload)
        payload.append(0)
        for range in ranges {
          payload.append(bigEndian: range.start)
          payload.append(bigEndian: range.length)
        }
      }
    case .packaged(let blob):
      guard let size = UInt32(exactly: blob.count) else {
        throw WireError(
          .notEncodable, at: 0, reading: "a packaged blob", expected: "less than 4 GiB",
          found: "\(blob.count) bytes")
      }
      try appendCommand(.packaged) { $0.append(bigEndian: size) }
      buffer.append(contentsOf: blob)
    case .enableCOLO(let payload):
      try appendCommand(.enableCOLO) { $0.append(contentsOf: payload) }
    case .postcopyResume: try appendCommand(.postcopyResume)
    case .receiveBitmap(let block):
      let name = try CountedText(block, "the name of a block to report")
      try appendCommand(.receiveBitmap) { name.append(to: &$0) }
    case .switchoverStart: try appendCommand(.switchoverStart)
    case .askKnownPages(let limit):
      try appendCommand(.askKnownPages) { $0.append(bigEndian: limit) }
    }
  }

  private mutating func appendCommand(
    _ code: VMCommand.Code, payload fill: (inout [UInt8]) -> Void = { _ in }
  ) throws(WireError) {
    var payload: [UInt8] = []
    fill(&payload)
    guard let length = UInt16(exactly: payload.count) else {
      throw WireError(
        .notEncodable, at: 0, reading: "the payload of command \(code)",
        expected: "at most 65535 bytes", found: "\(payload.count)")
    }
    buffer.append(ElementType.command.rawValue)
    buffer.append(bigEndian: code.rawValue)
    buffer.append(bigEndian: length)
    buffer.append(contentsOf: payload)
  }

  /// A record of a dirty-bitmap section, without the footer that follows the last one.
  /// - Throws: `WireError` of kind `notEncodable` if a name exceeds 255 bytes.
  public mutating func append(_ chunk: DirtyBitmapChunk) throws(WireError) {
    typealias Flag = DirtyBitmapChunk.Flag
    var flags: UInt8 = chunk.endsSection ? Flag.endOfSection : 0
    if chunk.node != nil { flags |= Flag.nodeName }
    if chunk.bitmap != nil { flags |= Flag.bitmapName }
    switch chunk.content {
    case .start: flags |= Flag.start
    case .bits(_, _, let data): flags |= data == nil ? Flag.bits | Flag.zeroes : Flag.bits
    case .complete: flags |= Flag.complete
    case .none: break
    }
    buffer.append(flags)
    if let node = chunk.node { try appendText(node, "the name of a block node") }
    if let bitmap = chunk.bitmap { try appendText(bitmap, "the name of a dirty bitmap") }
    switch chunk.content {
    case .start(let granularity, let bitmapFlags):
      buffer.append(bigEndian: granularity)
      buffer.append(bitmapFlags)
    case .bits(let sector, let count, let data):
      buffer.append(bigEndian: sector)
      buffer.append(bigEndian: count)
      if let data {
        buffer.append(bigEndian: UInt64(data.count))
        buffer.append(contentsOf: data)
      }
    case .complete, .none: break
    }
  }
}

extension VMCommand {
  /// The most ranges that QEMU puts into one discard command.
  public static let discardRangeCount = 12
}
