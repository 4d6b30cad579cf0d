// A buffer of whole pages, allocated once and used again.

import Glibc

/// Page-aligned memory for `pageCount` pages; one thread at a time may use one.
@safe
final class PageBuffer: @unchecked Sendable {
  let pageCount: Int
  private let base: UnsafeMutableRawPointer

  init(pageCount: Int) {
    self.pageCount = pageCount
    unsafe base = UnsafeMutableRawPointer.allocate(
      byteCount: pageCount * storePageSize, alignment: storePageSize)
    // SAFETY: just allocated with that length; memory handed out is never uninitialised.
    unsafe base.initializeMemory(as: UInt8.self, repeating: 0, count: pageCount * storePageSize)
  }

  deinit { unsafe base.deallocate() }

  /// Bytes in the buffer.
  var byteCount: Int { pageCount * storePageSize }

  /// Lends a byte range for reading.
  func withBytes<R, E: Error>(
    _ range: Range<Int>, _ body: (RawSpan) throws(E) -> R
  ) throws(E) -> R {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "outside the buffer")
    // SAFETY: the range is inside the allocation, which lives as long as this object.
    let span = unsafe RawSpan(_unsafeStart: base + range.lowerBound, byteCount: range.count)
    return try body(span)
  }

  /// Lends a byte range for writing.
  func withMutableBytes<R, E: Error>(
    _ range: Range<Int>, _ body: (inout MutableRawSpan) throws(E) -> R
  ) throws(E) -> R {
    precondition(range.lowerBound >= 0 && range.upperBound <= byteCount, "outside the buffer")
    // SAFETY: the range is inside the allocation, and one thread at a time uses the buffer.
    var span = unsafe MutableRawSpan(_unsafeStart: base + range.lowerBound, byteCount: range.count)
    return try body(&span)
  }

  /// A range's place in memory, for a system call while the buffer lives.
  fileprivate func vector(_ range: Range<Int>) -> iovec {
    // SAFETY: a piece's range is inside the allocation.
    unsafe iovec(iov_base: base + range.lowerBound, iov_len: range.count)
  }

  /// Copies bytes into the buffer.
  func copy(_ content: RawSpan, at offset: Int) {
    precondition(offset >= 0 && offset + content.byteCount <= byteCount, "outside the buffer")
    unsafe content.withUnsafeBytes { source in
      guard let from = source.baseAddress else { return }
      // SAFETY: the length was checked; source and buffer are different memory.
      unsafe memcpy(base + offset, from, source.count)
    }
  }
}

extension File {
  /// What the kernel takes in one call (`UIO_MAXIOV`).
  private static let vectorLimit = 1024

  /// Writes pieces one behind the other.
  func write(_ pieces: [BufferPiece], at offset: UInt64) throws(StoreError) {
    var position = offset
    var first = 0
    while first < pieces.count {
      let group = pieces[first..<min(first + File.vectorLimit, pieces.count)]
      let vectors = unsafe group.map { unsafe $0.buffer.vector($0.range) }
      let count = group.reduce(0) { $0 + $1.range.count }
      // SAFETY: the vectors name memory of buffers that the pieces keep alive.
      let put = unsafe pwritev(descriptor, vectors, Int32(vectors.count), off_t(position))
      if put < count {
        // Cut short: piece by piece, so that what is wrong shows.
        for piece in group {
          try piece.buffer.withBytes(piece.range) { (bytes) throws(StoreError) in
            try write(bytes, at: position)
          }
          position += UInt64(piece.range.count)
        }
      } else {
        position += UInt64(count)
      }
      first = group.endIndex
    }
  }
}

/// A part of a buffer; the buffer's owner leaves it alone while the piece is in use.
struct BufferPiece {
  let buffer: PageBuffer
  let range: Range<Int>

  init(_ buffer: PageBuffer, _ range: Range<Int>) {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= buffer.byteCount, "outside the buffer")
    self.buffer = buffer
    self.range = range
  }

  /// This piece and the next one as one, where they lie side by side.
  func joined(with next: BufferPiece) -> BufferPiece? {
    guard buffer === next.buffer, range.upperBound == next.range.lowerBound else { return nil }
    return BufferPiece(buffer, range.lowerBound..<next.range.upperBound)
  }
}

/// Copies a span's bytes over the front of another's.
func copyBytes(_ source: RawSpan, into destination: inout MutableRawSpan) {
  precondition(source.byteCount <= destination.byteCount, "more bytes than fit")
  unsafe source.withUnsafeBytes { from in
    unsafe destination.withUnsafeMutableBytes { to in
      guard let target = to.baseAddress, let origin = from.baseAddress else { return }
      // SAFETY: the length was checked; exclusive access means they do not overlap.
      unsafe memcpy(target, origin, from.count)
    }
  }
}

/// Zeroes a span.
func zeroBytes(_ destination: inout MutableRawSpan) {
  unsafe destination.withUnsafeMutableBytes { buffer in
    guard let base = buffer.baseAddress else { return }
    // SAFETY: the buffer is the whole span.
    unsafe memset(base, 0, buffer.count)
  }
}

/// Whether 4096 bytes at an offset of a span are all zero.
func isZeroPage(_ content: RawSpan, at offset: Int) -> Bool {
  precondition(offset >= 0 && offset + storePageSize <= content.byteCount, "outside the span")
  return unsafe content.withUnsafeBytes { buffer -> Bool in
    guard let base = buffer.baseAddress else { return false }
    // SAFETY: the page is inside the span; loads may be unaligned.
    let page = unsafe base + offset
    var index = 0
    while index < storePageSize {
      var bits: UInt64 = 0
      let chunk = unsafe page + index
      unsafe bits |= chunk.loadUnaligned(fromByteOffset: 0, as: UInt64.self)
      unsafe bits |= chunk.loadUnaligned(fromByteOffset: 8, as: UInt64.self)
      unsafe bits |= chunk.loadUnaligned(fromByteOffset: 16, as: UInt64.self)
      unsafe bits |= chunk.loadUnaligned(fromByteOffset: 24, as: UInt64.self)
      unsafe bits |= chunk.loadUnaligned(fromByteOffset: 32, as: UInt64.self)
      unsafe bits |= chunk.loadUnaligned(fromByteOffset: 40, as: UInt64.self)
      unsafe bits |= chunk.loadUnaligned(fromByteOffset: 48, as: UInt64.self)
      unsafe bits |= chunk.loadUnaligned(fromByteOffset: 56, as: UInt64.self)
      if bits != 0 { return false }
      index += 64
    }
    return true
  }
}
