// Requests to a virtio disk, as drivers write them.

/// What a virtio disk is asked to do: the sixteen bytes before each request's data.
struct BlockRequest: Equatable, Sendable {
  enum Kind: UInt32, Sendable {
    case read = 0
    case write = 1
    case flush = 4
    case identify = 8
    case discard = 11
    case writeZeroes = 13
  }

  /// The byte that ends each request.
  enum Status: UInt8, Sendable {
    case done = 0
    case failed = 1
    case unsupported = 2
  }

  static let headerByteCount = 16

  /// Nil for a kind that is not known.
  let kind: Kind?
  /// Where it begins, in sectors of 512 bytes.
  let sector: UInt64

  init(header: [UInt8]) {
    kind = Kind(rawValue: header.littleEndian(UInt32.self, at: 0))
    sector = header.littleEndian(UInt64.self, at: 8)
  }
}

/// A range of sectors to discard or to zero.
struct BlockRange: Equatable, Sendable {
  static let byteCount = 16

  let sector: UInt64
  let sectorCount: UInt32
  let mayUnmap: Bool
  /// Flags that mean nothing here.
  let hasUnknownFlags: Bool

  /// The ranges in a request's data; nil where it holds no whole number of them, or too many.
  static func ranges(in bytes: [UInt8], limit: Int) -> [BlockRange]? {
    guard !bytes.isEmpty, bytes.count % byteCount == 0, bytes.count / byteCount <= limit else {
      return nil
    }
    return stride(from: 0, to: bytes.count, by: byteCount).map { offset in
      let flags = bytes.littleEndian(UInt32.self, at: offset + 12)
      return BlockRange(
        sector: bytes.littleEndian(UInt64.self, at: offset),
        sectorCount: bytes.littleEndian(UInt32.self, at: offset + 8),
        mayUnmap: flags & 1 != 0, hasUnknownFlags: flags & ~1 != 0)
    }
  }
}
