// Carrying out a disk's requests.

import GuestMemory

extension VirtioBlock {
  /// Carries out one request and writes its status.
  ///
  /// - Returns: how many bytes of the request's writable part were written; nil for a chain that is
  ///   no request at all.
  func carryOut(_ chain: DescriptorChain) -> Int? {
    let headerSegments = chain.readable.slice(
      skipping: 0, count: BlockRequest.headerByteCount)
    // The status is the last byte of the writable part, whatever pieces that is made of.
    let statusSegments = chain.writable.slice(
      skipping: chain.writableByteCount - 1, count: 1)
    guard chain.readableByteCount >= BlockRequest.headerByteCount, chain.writableByteCount > 0,
      let header = core.memory.gather(headerSegments)
    else { return nil }
    let request = BlockRequest(header: header)
    let (status, byteCount) = carryOut(request, chain)
    core.withState { $0.extra.statistics.count(request, status, byteCount: byteCount) }
    guard core.memory.scatter([status.rawValue], to: statusSegments) else { return nil }
    return request.kind == .read || request.kind == .identify ? byteCount + 1 : 1
  }

  private func carryOut(
    _ request: BlockRequest, _ chain: DescriptorChain
  ) -> (BlockRequest.Status, byteCount: Int) {
    let input = chain.writable.slice(skipping: 0, count: chain.writableByteCount - 1)
    let inputCount = chain.writableByteCount - 1
    let outputCount = chain.readableByteCount - BlockRequest.headerByteCount
    let output = chain.readable.slice(
      skipping: BlockRequest.headerByteCount, count: outputCount)
    switch request.kind {
    case .read:
      guard let offset = place(of: request.sector, byteCount: inputCount),
        let pieces = core.memory.pieces(of: input, toWrite: true),
        file.read(at: offset, into: pieces)
      else { return (.failed, 0) }
      return (.done, inputCount)
    case .write:
      guard !file.isReadOnly, let offset = place(of: request.sector, byteCount: outputCount),
        let pieces = core.memory.pieces(of: output, toWrite: false),
        file.write(at: offset, from: pieces), !mustWriteThrough || file.flush()
      else { return (.failed, 0) }
      return (.done, outputCount)
    case .flush:
      return (file.isReadOnly || file.flush() ? .done : .failed, 0)
    case .identify:
      let identity = serial + [UInt8](repeating: 0, count: 20 - serial.count)
      let count = min(inputCount, identity.count)
      guard core.memory.scatter(Array(identity.prefix(count)), to: input) else {
        return (.failed, 0)
      }
      return (.done, count)
    case .discard, .writeZeroes:
      return (change(request, output, byteCount: outputCount), 0)
    case nil:
      return (.unsupported, 0)
    }
  }

  /// Discards or zeroes ranges.
  private func change(
    _ request: BlockRequest, _ output: [GuestSegment], byteCount: Int
  ) -> BlockRequest.Status {
    let isDiscard = request.kind == .discard
    guard !file.isReadOnly, !isDiscard || file.canDiscard else { return .unsupported }
    let limit = isDiscard ? VirtioLimits.discardRangeCount : 1
    let sectorLimit =
      isDiscard ? VirtioLimits.discardSectorCount : VirtioLimits.zeroSectorCount
    guard byteCount <= limit * BlockRange.byteCount, let bytes = core.memory.gather(output),
      let ranges = BlockRange.ranges(in: bytes, limit: limit)
    else { return .failed }
    for range in ranges {
      if range.hasUnknownFlags || isDiscard && range.mayUnmap { return .unsupported }
      let count = Int(range.sectorCount) * DiskFile.sectorByteCount
      guard range.sectorCount <= sectorLimit,
        let offset = place(of: range.sector, byteCount: count)
      else { return .failed }
      if count == 0 { continue }
      let isDone =
        isDiscard
        ? file.discard(at: offset, byteCount: Int64(count))
        : file.writeZeroes(at: offset, byteCount: Int64(count), mayUnmap: range.mayUnmap)
      guard isDone else { return .failed }
    }
    return !mustWriteThrough || file.flush() ? .done : .failed
  }

  /// Where a request begins in the image, in bytes; nil where it is not inside it.
  private func place(of sector: UInt64, byteCount: Int) -> Int64? {
    guard byteCount % DiskFile.sectorByteCount == 0, sector <= file.sectorCount,
      UInt64(byteCount / DiskFile.sectorByteCount) <= file.sectorCount - sector
    else { return nil }
    return Int64(sector) * Int64(DiskFile.sectorByteCount)
  }

  /// A driver that never flushes is promised that what is written is on the disk.
  private var mustWriteThrough: Bool {
    core.withState { $0.registers.driverFeatures & Self.flush == 0 }
  }
}

extension VirtioBlock.Statistics {
  /// Counts a request that was carried out.
  fileprivate mutating func count(
    _ request: BlockRequest, _ status: BlockRequest.Status, byteCount: Int
  ) {
    guard status == .done else {
      failureCount += 1
      return
    }
    switch request.kind {
    case .read:
      readCount += 1
      readByteCount += byteCount
    case .write:
      writeCount += 1
      writtenByteCount += byteCount
    case .flush: flushCount += 1
    case .identify, .discard, .writeZeroes, nil: break
    }
  }
}
