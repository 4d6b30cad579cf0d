// Pages from an endpoint into an encoder, through one buffer per thread.

internal import MigrationCore
internal import Synchronization
internal import Wire

/// Reads host pages of an endpoint and appends them as RAM records.
@safe
final class PageReader {
  private let endpoint: any SourceEndpoint
  private let format: SourceFormat
  private let counters: ProgressCounters
  private let buffer: UnsafeMutableRawBufferPointer

  init(endpoint: any SourceEndpoint, format: SourceFormat, counters: ProgressCounters) {
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
  func append(
    _ address: RAMPageAddress, byteCount: Int, to encoder: inout StreamEncoder
  ) throws {
    // SAFETY: byteCount is at most the largest page size, which the buffer has; the content is
    // read only where the endpoint says that it filled it.
    let room = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[..<byteCount])
    let content = try unsafe endpoint.read(address, byteCount: byteCount, into: room)
    var page = address
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
  }
}
