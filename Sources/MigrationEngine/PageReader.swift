// Pages from an endpoint into an encoder, through one buffer per thread.

internal import MigrationCore
internal import PageHash
internal import Synchronization
internal import Wire

/// Reads host pages of an endpoint and appends them as RAM records.
@safe
final class PageReader {
  private let endpoint: any SourceEndpoint
  private let format: SourceFormat
  private let counters: ProgressCounters
  private let known: KnownPagesSender?
  private let digester: Digester?
  private let buffer: UnsafeMutableRawBufferPointer

  /// - Parameter known: what the destination holds, for pages that may go as hashes.
  init(
    endpoint: any SourceEndpoint, format: SourceFormat, counters: ProgressCounters,
    known: KnownPagesSender? = nil
  ) {
    // Where nothing can be hashed, pages go with their content.
    digester = known == nil ? nil : try? Digester()
    self.known = digester == nil ? nil : known
    self.endpoint = endpoint
    self.format = format
    self.counters = counters
    let largest = format.blocks.reduce(format.targetPageSize) { max($0, Int($1.pageSize ?? 0)) }
    // SAFETY: freed in deinit only; this object never lets the pointer out but to `read`.
    unsafe buffer = .allocate(byteCount: largest, alignment: 4096)
  }

  deinit {
    unsafe buffer.deallocate()
  }

  /// Appends the records of `byteCount` bytes at `address`: one for each target page, in order.
  ///
  /// Throws what the endpoint threw, having appended nothing.
  /// - Parameter mayHash: whether it may go as its hash.
  /// - Returns: whether it did.
  @discardableResult
  func append(
    _ address: RAMPageAddress, byteCount: Int, mayHash: Bool = false,
    to encoder: inout StreamEncoder
  ) throws -> Bool {
    // SAFETY: byteCount is at most the largest page size, which the buffer has; the content is
    // read only where the endpoint says that it filled it.
    let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<byteCount])
    let content = try unsafe endpoint.read(address, byteCount: byteCount, into: room)
    var page = address
    if mayHash, content == .data, byteCount == format.targetPageSize, let known, let digester,
      let hash = known.hash(
        of: page, content: unsafe UnsafeRawBufferPointer(room).bytes, digester)
    {
      try hash.withBytes { try encoder.appendPageHash(page, digest: $0) }
      return true
    }
    for start in stride(from: 0, to: byteCount, by: format.targetPageSize) {
      page.offset = address.offset + UInt64(start)
      switch content {
      case .zero:
        try encoder.appendZeroPage(page)
      case .data:
        let bytes = unsafe UnsafeRawBufferPointer(room).bytes
        try encoder.appendPage(
          page, content: bytes.extracting(start..<start + format.targetPageSize))
      }
    }
    let count = UInt64(byteCount / format.targetPageSize)
    switch content {
    case .zero: counters.zeroPages.add(count, ordering: .relaxed)
    case .data: counters.normalPages.add(count, ordering: .relaxed)
    }
    return false
  }
}
