// StreamDecoder+RAMSetup.swift: the announcement of the RAM blocks.

extension StreamDecoder {
  mutating func ramSetup<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    var reader = ItemReader(bytes, base: offset)
    let word = try reader.next(UInt64.self)
    guard word & ram.flagMask == RAMFlag.memorySize else {
      throw invalid(
        .illegalFlags, expected: "the size of all blocks (flag 0x4)",
        found: "flags \(hex(word & ram.flagMask))",
        remedy: "The stream is damaged, or its target page size is not \(ram.pageSize) bytes: "
          + "give the right one by the decoder's options.")
    }
    ram.announcedTotal = word & ~ram.flagMask
    try continueSetup(&visitor)
    return reader.offset
  }

  mutating func ramBlock<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    var reader = ItemReader(bytes, base: offset)
    let name = try reader.nextCountedText("the name of a RAM block")
    let length = try reader.next(UInt64.self)
    var block = RAMBlockDescription(name: name, usedLength: length)
    if ram.carriesAddresses { block.guestAddress = try reader.next(UInt64.self) }
    guard !name.isEmpty, ram.indexByName[name] == nil else {
      throw invalid(
        .malformedBlockList, expected: "blocks with names of their own",
        found: name.isEmpty ? "a block without a name" : "\(name) twice")
    }
    let (sum, overflow) = ram.total.addingReportingOverflow(length)
    guard !overflow, sum <= ram.announcedTotal, length & ram.flagMask == 0 else {
      throw invalid(
        .malformedBlockList,
        expected: "whole pages, and blocks of \(ram.announcedTotal) bytes in all",
        found: "\(length) bytes in \(name), after \(ram.total) before it")
    }
    guard ram.blocks.count < options.limits.blockCount else {
      throw invalid(
        .limitExceeded, expected: "at most \(options.limits.blockCount) blocks", found: "one more")
    }
    ram.total = sum
    ram.indexByName[name] = ram.blocks.count
    ram.blocks.append(block)
    if ram.mayCarryPageSizes {
      state = .ramBlockPageSize
    } else {
      try continueSetup(&visitor)
    }
    return reader.offset
  }

  /// Decides whether the page size of the block just read follows, which nothing announces.
  ///
  /// Between blocks the next byte tells: the length of a name is never 0, the first byte of a
  /// page size always. After the last block the next word tells: it is a page size of at least
  /// 4096, or a record without an address, which is less.
  mutating func ramBlockPageSize<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    var reader = ItemReader(bytes, base: offset)
    let isLast = ram.total == ram.announcedTotal
    let isPresent =
      isLast ? try reader.peek(UInt64.self) >= 4096 : try reader.peek(UInt8.self) == 0
    if isPresent {
      let size = try reader.next(UInt64.self)
      guard size.nonzeroBitCount == 1 else {
        throw invalid(
          .malformedBlockList, expected: "a page size that is a power of two", found: "\(size)")
      }
      ram.blocks[ram.blocks.count - 1].pageSize = size
    }
    try continueSetup(&visitor)
    return reader.offset
  }

  private mutating func continueSetup<V: StreamVisitor>(
    _ visitor: inout V
  ) throws(Interruption) {
    guard ram.total == ram.announcedTotal else {
      state = .ramBlock
      return
    }
    state = .ramItems
    try tell(.ramBlocks(ram.blocks), &visitor)
  }
}
