// One page, compressed alone: LZ4 or zstd, behind a check of the compressed bytes themselves.

import CLZ4
import CZlib
import CZstd

/// Compresses and expands single pages; one thread at a time may use one.
///
/// A compressed page is `codec (1 byte), CRC-32 of codec and data (4, little-endian), data`. The
/// page's hash proves the content; the CRC finds a damaged byte that happens not to matter to it.
@safe
final class PageCodec: @unchecked Sendable {
  enum Codec: UInt8, Sendable {
    case lz4 = 1
    case zstd = 2
  }

  /// Bytes before the data.
  static let headerSize = 5
  /// A page is kept compressed only if it takes no more than this: an eighth must be saved.
  static let worthwhileSize = storePageSize - storePageSize / 8

  private let compressor: OpaquePointer?
  private let expander: OpaquePointer?

  init() {
    unsafe compressor = ZSTD_createCCtx()
    unsafe expander = ZSTD_createDCtx()
  }

  deinit {
    // SAFETY: both contexts are this object's own; freeing a null context is allowed.
    unsafe ZSTD_freeCCtx(compressor)
    unsafe ZSTD_freeDCtx(expander)
  }

  /// Compresses one page to the front of `out`.
  ///
  /// - Parameter out: at least `worthwhileSize` bytes.
  /// - Returns: the bytes used, or nil where compression does not pay.
  func compress(_ page: RawSpan, with codec: Codec, into out: inout MutableRawSpan) -> Int? {
    let room = PageCodec.worthwhileSize - PageCodec.headerSize
    guard page.byteCount == storePageSize, out.byteCount >= PageCodec.worthwhileSize else {
      return nil
    }
    return unsafe page.withUnsafeBytes { source in
      unsafe out.withUnsafeMutableBytes { target -> Int? in
        guard let from = source.baseAddress, let to = target.baseAddress else { return nil }
        let data = unsafe to + PageCodec.headerSize
        var size = 0
        switch codec {
        case .lz4:
          // SAFETY: `room` bytes lie behind the header inside `out`.
          size = Int(unsafe LZ4_compress_default(from, data, Int32(source.count), Int32(room)))
        case .zstd:
          guard let compressor = unsafe compressor else { return nil }
          // SAFETY: as above; the context is used by one thread at a time.
          let result = unsafe ZSTD_compressCCtx(compressor, data, room, from, source.count, 1)
          size = ZSTD_isError(result) == 0 ? Int(result) : 0
        }
        guard size > 0 else { return nil }
        // SAFETY: header and data are inside `out`.
        unsafe to.storeBytes(of: codec.rawValue, as: UInt8.self)
        let check = unsafe PageCodec.check(to, dataSize: size)
        unsafe (to + 1).storeBytes(of: check.littleEndian, as: UInt32.self)
        return PageCodec.headerSize + size
      }
    }
  }

  /// Expands a compressed page.
  ///
  /// - Parameter page: exactly one page long.
  /// - Returns: nil when it was expanded, else what is wrong with `payload`.
  func expand(_ payload: RawSpan, into page: inout MutableRawSpan) -> String? {
    let dataSize = payload.byteCount - PageCodec.headerSize
    guard dataSize > 0, page.byteCount == storePageSize else { return "too short to be a page" }
    return unsafe payload.withUnsafeBytes { source in
      unsafe page.withUnsafeMutableBytes { target -> String? in
        guard let from = source.baseAddress, let to = target.baseAddress else { return "no bytes" }
        // SAFETY: `dataSize` > 0 bytes follow the five of the header.
        let stored = unsafe UInt32(
          littleEndian: (from + 1).loadUnaligned(as: UInt32.self))
        guard unsafe PageCodec.check(from, dataSize: dataSize) == stored else {
          return "the compressed page's check does not match"
        }
        let data = unsafe from + PageCodec.headerSize
        var size = -1
        switch Codec(rawValue: unsafe from.load(as: UInt8.self)) {
        case .lz4:
          // SAFETY: the decoder stays inside both given lengths, whatever the bytes are.
          size = Int(
            unsafe LZ4_decompress_safe(data, to, Int32(dataSize), Int32(storePageSize)))
        case .zstd:
          guard let expander = unsafe expander else { return "there is no memory to expand it" }
          // SAFETY: as above.
          let result = unsafe ZSTD_decompressDCtx(expander, to, storePageSize, data, dataSize)
          size = ZSTD_isError(result) == 0 ? Int(result) : -1
        case nil:
          return "compressed in a way that this Godwit does not know"
        }
        return size == storePageSize ? nil : "it does not expand to a page"
      }
    }
  }

  /// CRC-32 of the codec byte and the data, the four bytes between them left out.
  private static func check(_ header: UnsafeRawPointer, dataSize: Int) -> UInt32 {
    let bytes = unsafe header.assumingMemoryBound(to: UInt8.self)
    // SAFETY: the callers checked that the header and `dataSize` bytes are there.
    let first = unsafe crc32(0, bytes, 1)
    return UInt32(truncatingIfNeeded: unsafe crc32(first, bytes + headerSize, UInt32(dataSize)))
  }
}
