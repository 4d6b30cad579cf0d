// StreamDecoder+DirtyBitmap.swift: the records of a dirty-bitmap section.

extension StreamDecoder {
  mutating func dirtyBitmap<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    typealias Flag = DirtyBitmapChunk.Flag
    var reader = ItemReader(bytes, base: offset)
    let flags = try reader.next(UInt8.self)
    let kinds = flags & (Flag.start | Flag.complete | Flag.bits)
    let zeroesAlone = flags & Flag.zeroes != 0 && flags & Flag.bits == 0
    guard flags & Flag.wider == 0, kinds.nonzeroBitCount <= 1, !zeroesAlone else {
      throw invalid(
        .malformedDirtyBitmap, expected: "at most one of start, bits and complete",
        found: "flags \(hex(flags))")
    }
    var node: String?
    var bitmap: String?
    if flags & Flag.nodeName != 0 {
      node = try reader.nextCountedText("the name of a block node")
    }
    if flags & Flag.bitmapName != 0 {
      bitmap = try reader.nextCountedText("the name of a dirty bitmap")
    }
    let content = try dirtyBitmapContent(flags, &reader)
    let ends = flags & Flag.endOfSection != 0
    try tell(
      .dirtyBitmapChunk(
        DirtyBitmapChunk(node: node, bitmap: bitmap, content: content, endsSection: ends)),
      &visitor)
    if ends { try finishPayload(&visitor) }
    return reader.offset
  }

  private func dirtyBitmapContent(
    _ flags: UInt8, _ reader: inout ItemReader
  ) throws(Interruption) -> DirtyBitmapChunk.Content {
    typealias Flag = DirtyBitmapChunk.Flag
    if flags & Flag.start != 0 {
      let granularity = try reader.next(UInt32.self)
      return .start(granularity: granularity, flags: try reader.next(UInt8.self))
    }
    if flags & Flag.complete != 0 { return .complete }
    guard flags & Flag.bits != 0 else { return .none }
    let sector = try reader.next(UInt64.self)
    let count = try reader.next(UInt32.self)
    if flags & Flag.zeroes != 0 { return .bits(sector: sector, sectorCount: count, data: nil) }
    let size = try reader.next(UInt64.self)
    let limit = options.limits.bitmapChunkSize
    guard size <= limit else {
      throw invalid(
        .limitExceeded, expected: "at most \(limit) bytes of bitmap at once", found: "\(size)")
    }
    let data = try reader.nextBytes(Int(size))
    return .bits(sector: sector, sectorCount: count, data: data)
  }
}
