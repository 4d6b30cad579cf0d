// StreamDecoder+RAMItems.swift: the records of a RAM section: the decoder's hot path.

internal import CZlib

extension StreamDecoder {
  /// Reads as many records as lie whole in `bytes`.
  mutating func ramItems<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    let pageSize = ram.pageSize
    let mask = ram.flagMask
    let plain = RAMFlag.page | RAMFlag.continue
    let zero = RAMFlag.zero | RAMFlag.continue
    let hash = options.takesKnownPages ? RAMFlag.pageHash | RAMFlag.continue : .max
    var position = 0
    do {
      // Plain and zero pages of the block named last: almost everything there is.
      while bytes.byteCount - position >= 9 {
        let word = bytes.bigEndian(at: position, as: UInt64.self)
        let address = word & ~mask
        guard address < ram.namedLength else { break }
        let page = RAMPageAddress(blockIndex: ram.namedBlock, offset: address)
        let end = position + 8 + pageSize
        if word & mask == plain, end <= bytes.byteCount {
          try visitor.visitPage(page, content: bytes.extracting(position + 8..<end))
          position = end
        } else if word & mask == zero {
          try visitor.visitZeroPage(page, fill: bytes.byte(at: position + 8))
          position += 9
        } else if word & mask == hash, position + 8 + WireSize.pageHash <= bytes.byteCount {
          let content = position + 8..<position + 8 + WireSize.pageHash
          try visitor.visitPageHash(page, digest: bytes.extracting(content))
          position = content.upperBound
        } else {
          break
        }
      }
    } catch {
      throw .visitor(error)
    }
    if position > 0 { return position }
    return try ramItem(bytes, &visitor)
  }

  /// Reads one record of any kind.
  private mutating func ramItem<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    var reader = ItemReader(bytes, base: offset)
    let word = try reader.next(UInt64.self)
    let flags = word & ram.flagMask
    switch flags & ~RAMFlag.continue {
    case RAMFlag.endOfSection where word == RAMFlag.endOfSection:
      try finishPayload(&visitor)
    case RAMFlag.multifdFlush where word == RAMFlag.multifdFlush:
      try tell(.multifdFlush, &visitor)
    case RAMFlag.page, RAMFlag.zero, RAMFlag.xbzrle, RAMFlag.compressedPage:
      try pageItem(flags, word & ~ram.flagMask, &reader, &visitor)
    case RAMFlag.pageHash where options.takesKnownPages:
      try pageItem(flags, word & ~ram.flagMask, &reader, &visitor)
    default:
      throw invalid(
        .illegalFlags,
        expected: "one of zero, page, delta, compressed page, end of section and flush",
        found: "the word \(hex(word))", remedy: flagsRemedy(flags))
    }
    return reader.offset
  }

  private func flagsRemedy(_ flags: UInt64) -> String? {
    if flags & RAMFlag.hook != 0 {
      return "Send over TCP or a Unix socket: an RDMA migration cannot be read by others."
    }
    if flags & ~RAMFlag.continue == RAMFlag.pageHash { return KnownPagesText.remedy }
    if configuration?.targetPageBits != nil { return nil }
    return "The stream is damaged; or the guest's pages are not \(ram.pageSize) bytes, which the "
      + "stream does not say: give the right size by the decoder's options."
  }

  private mutating func pageItem<V: StreamVisitor>(
    _ flags: UInt64, _ address: UInt64, _ reader: inout ItemReader, _ visitor: inout V
  ) throws(Interruption) {
    let block = try pageBlock(flags, &reader)
    let length = block < 0 ? 0 : ram.blocks[block].usedLength
    guard address < length else {
      throw invalid(
        .addressOutOfBlock, expected: "an address below \(length)",
        found: "\(address) in block \(ram.blocks[block].name)")
    }
    let page = RAMPageAddress(blockIndex: block, offset: address)
    let content = try pageContent(flags & ~RAMFlag.continue, &reader)
    ram.namedBlock = block
    ram.namedLength = length
    let span = reader.bytes.extracting(content)
    do {
      switch flags & ~RAMFlag.continue {
      case RAMFlag.page: try visitor.visitPage(page, content: span)
      case RAMFlag.zero: try visitor.visitZeroPage(page, fill: span.byte(at: 0))
      case RAMFlag.xbzrle: try visitor.visitDelta(page, xbzrle: span)
      case RAMFlag.pageHash: try visitor.visitPageHash(page, digest: span)
      default:
        try inflate(span)
        try scratchPage.withSpan { try visitor.visitPage(page, content: $0) }
      }
    } catch let error as Interruption {
      throw error
    } catch {
      throw .visitor(error)
    }
  }

  /// The block of a record: the one it names, or the one named last.
  private func pageBlock(
    _ flags: UInt64, _ reader: inout ItemReader
  ) throws(Interruption) -> Int {
    if flags & RAMFlag.continue != 0 {
      guard ram.namedBlock >= 0 else {
        throw invalid(
          .unknownBlock, expected: "a record that names its block",
          found: "one that continues, with none before it")
      }
      return ram.namedBlock
    }
    let name = try reader.nextCountedText("the name of a page's block")
    guard let index = ram.indexByName[name] else {
      throw invalid(
        .unknownBlock, expected: "a block that was announced", found: "\"\(name)\"")
    }
    return index
  }

  /// Where the content of a record lies, once all of it has arrived.
  private func pageContent(
    _ flag: UInt64, _ reader: inout ItemReader
  ) throws(Interruption) -> Range<Int> {
    switch flag {
    case RAMFlag.page: return try reader.nextRange(ram.pageSize)
    case RAMFlag.zero: return try reader.nextRange(1)
    case RAMFlag.pageHash: return try reader.nextRange(WireSize.pageHash)
    case RAMFlag.xbzrle:
      let mark = try reader.next(UInt8.self)
      let size = Int(try reader.next(UInt16.self))
      guard mark == RAMFlag.xbzrleMark, size <= ram.pageSize else {
        throw invalid(
          .malformedPage, expected: "a delta of kind 1 and at most \(ram.pageSize) bytes",
          found: "kind \(mark) and \(size) bytes")
      }
      return try reader.nextRange(size)
    default:
      let size = Int(try reader.next(UInt32.self))
      let limit = compressedLimit
      guard size > 0, size <= limit else {
        throw invalid(
          .malformedPage, expected: "a compressed page of 1 to \(limit) bytes",
          found: "\(size) bytes")
      }
      return try reader.nextRange(size)
    }
  }

  /// The most that zlib makes of a page that does not compress.
  private var compressedLimit: Int {
    ram.pageSize + ram.pageSize >> 12 + ram.pageSize >> 14 + ram.pageSize >> 25 + 13
  }

  /// Expands a zlib stream of exactly one page into `scratchPage`.
  private mutating func inflate(_ source: RawSpan) throws(Interruption) {
    let pageSize = ram.pageSize
    if scratchPage.count != pageSize { scratchPage = [UInt8](repeating: 0, count: pageSize) }
    let (status, size) = scratchPage.inflate(source)
    guard status == Z_OK, size == pageSize else {
      throw invalid(
        .malformedPage, expected: "a zlib stream of one page of \(pageSize) bytes",
        found: status == Z_OK ? "one of \(size) bytes" : "data that zlib refuses (\(status))")
    }
  }
}
