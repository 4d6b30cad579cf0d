// StreamEncoder+Pages.swift: the records of a RAM section.

/// The flags in the low bits of a RAM record's first word.
enum RAMFlag {
  static let zero: UInt64 = 0x002
  static let memorySize: UInt64 = 0x004
  static let page: UInt64 = 0x008
  static let endOfSection: UInt64 = 0x010
  static let `continue`: UInt64 = 0x020
  static let xbzrle: UInt64 = 0x040
  static let hook: UInt64 = 0x080
  static let compressedPage: UInt64 = 0x100
  static let multifdFlush: UInt64 = 0x200
  /// Godwit's own: a page by its hash.
  static let pageHash: UInt64 = 0x400
  /// What says that an XBZRLE record is one.
  static let xbzrleMark: UInt8 = 0x01
}

extension StreamEncoder {
  /// The announcement of the RAM blocks, which begins the payload of `START ram`.
  ///
  /// Page addresses refer to `blocks` from here on.
  /// - Throws: `WireError` of kind `notEncodable` if a name exceeds 255 bytes or a length is not
  ///   a multiple of the target page size.
  public mutating func appendRAMSetup(_ blocks: [RAMBlockDescription]) throws(WireError) {
    var total: UInt64 = 0
    for block in blocks {
      let (sum, overflow) = total.addingReportingOverflow(block.usedLength)
      guard !overflow, block.usedLength % UInt64(targetPageSize) == 0 else {
        throw WireError(
          .notEncodable, at: 0, reading: "the length of block \(block.name)",
          expected: "a multiple of \(targetPageSize) bytes", found: "\(block.usedLength)")
      }
      total = sum
    }
    buffer.append(bigEndian: total | RAMFlag.memorySize)
    for block in blocks {
      try appendText(block.name, "the name of a RAM block")
      buffer.append(bigEndian: block.usedLength)
      if let pageSize = block.pageSize { buffer.append(bigEndian: pageSize) }
      if let address = block.guestAddress { buffer.append(bigEndian: address) }
    }
    setBlocks(blocks.map(\.name))
  }

  /// A page and its content, which is `targetPageSize` bytes.
  @inline(__always)
  public mutating func appendPage(_ page: RAMPageAddress, content: RawSpan) throws(WireError) {
    precondition(content.byteCount == targetPageSize, "a page is a whole target page")
    try appendPageHeader(page)
    buffer.append(span: content)
  }

  /// What stands before the content of a page, for a sender that writes the content itself.
  public mutating func appendPageHeader(_ page: RAMPageAddress) throws(WireError) {
    try appendWord(page, RAMFlag.page)
  }

  /// A page of zeroes.
  ///
  /// Another fill than 0 is refused by QEMU 10.0.
  public mutating func appendZeroPage(
    _ page: RAMPageAddress, fill: UInt8 = 0
  ) throws(WireError) {
    try appendWord(page, RAMFlag.zero)
    buffer.append(fill)
  }

  /// A page as a delta against what the receiver holds.
  /// - Throws: `WireError` of kind `notEncodable` if the delta exceeds a page.
  public mutating func appendDelta(
    _ page: RAMPageAddress, xbzrle: RawSpan
  ) throws(WireError) {
    guard xbzrle.byteCount <= targetPageSize, let size = UInt16(exactly: xbzrle.byteCount) else {
      throw WireError(
        .notEncodable, at: 0, reading: "a delta-encoded page",
        expected: "at most \(targetPageSize) bytes", found: "\(xbzrle.byteCount)")
    }
    try appendWord(page, RAMFlag.xbzrle)
    buffer.append(RAMFlag.xbzrleMark)
    buffer.append(bigEndian: size)
    buffer.append(span: xbzrle)
  }

  /// A page by the SHA-256 of its content, for a receiver that said it holds that (Godwit's own).
  ///
  /// - Parameters:
  ///   - page: where it belongs; target pages have at least 2 KiB, to have room for the flag.
  ///   - digest: the 32 bytes.
  public mutating func appendPageHash(
    _ page: RAMPageAddress, digest: RawSpan
  ) throws(WireError) {
    precondition(digest.byteCount == WireSize.pageHash, "a SHA-256 has 32 bytes")
    precondition(UInt64(targetPageSize) > RAMFlag.pageHash, "a page that has room for the flag")
    try appendWord(page, RAMFlag.pageHash)
    buffer.append(span: digest)
  }

  /// The record that ends a part of the RAM section; the footer follows.
  public mutating func appendRAMEndOfSection() {
    buffer.append(bigEndian: RAMFlag.endOfSection)
  }

  /// A point at which multifd channels meet.
  public mutating func appendMultifdFlush() {
    buffer.append(bigEndian: RAMFlag.multifdFlush)
  }

  /// The first word of a page record, and the block's name unless it is the last one's.
  @inline(__always)
  private mutating func appendWord(_ page: RAMPageAddress, _ flag: UInt64) throws(WireError) {
    precondition(
      page.offset % UInt64(targetPageSize) == 0, "a page begins at a multiple of its size")
    if page.blockIndex == namedBlock {
      buffer.append(bigEndian: page.offset | flag | RAMFlag.continue)
      return
    }
    precondition(blockNames.indices.contains(page.blockIndex), "a block that was announced")
    buffer.append(bigEndian: page.offset | flag)
    try appendText(blockNames[page.blockIndex], "the name of a RAM block")
    namedBlock = page.blockIndex
  }
}
