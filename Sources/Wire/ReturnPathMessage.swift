// ReturnPathMessage.swift: what a destination tells its source, and how that is encoded.

/// A message of the return path: the reverse direction of a migration's connection.
public enum ReturnPathMessage: Equatable, Sendable {
  /// The destination is done. 0 is success; anything else is failure. The last message.
  case shut(status: UInt32)
  /// The answer to a PING.
  case pong(UInt32)
  /// The guest waits for pages: `length` bytes from `start` in `block`, or in the block of the
  /// request before where `block` is `nil`.
  case requestPages(block: String?, start: UInt64, length: UInt32)
  /// The pages of `block` that were received, as asked for by a recovering source.
  case receivedBitmap(block: String, bitmap: ReceivedBitmap)
  /// The destination carries on after a recovery; the value is 1.
  case resumeAcknowledge(UInt32)
  /// No device objects to the switchover (QEMU 8.1 and later).
  case switchoverAcknowledge
  /// Pages that the destination holds, by the first 40 bits of their SHA-256 (Godwit's own); one
  /// of several messages, ended by ``knownPagesEnd(count:)``.
  case knownPages(prefixes: [UInt64])
  /// The announcement is over; it had so many pages (Godwit's own).
  case knownPagesEnd(count: UInt64)
  /// Pages of `block`, by their offsets in bytes, that came as hashes of what is not here after
  /// all: they have to come with their content (Godwit's own).
  case missedPages(block: String, offsets: [UInt64])
}

extension ReturnPathMessage {
  /// The numbers of the messages on the wire.
  enum Code: UInt16 {
    case shut = 1
    case pong = 2
    case requestPagesOfBlock = 3
    case requestPages = 4
    case receivedBitmap = 5
    case resumeAcknowledge = 6
    case switchoverAcknowledge = 7
    case knownPages = 0x4757
    case knownPagesEnd = 0x4758
    case missedPages = 0x4759

    /// Whether it is Godwit's own, and no other reader knows it.
    var isExtension: Bool { rawValue > Self.switchoverAcknowledge.rawValue }
  }

  /// The bytes of a hash that an announcement gives.
  static let prefixByteCount = 5
  /// The most prefixes in one message.
  public static let prefixLimit = 12_000
  /// The most pages in one message of missed ones.
  public static let missedPageLimit = 4096
  /// The bits of an announced prefix: a SHA-256's first 40, the first byte in the highest.
  public static let prefixMask: UInt64 = 1 << 40 - 1

  /// What stands after a bitmap of received pages.
  static let bitmapEndMark: UInt64 = 0x0123_4567_89ab_cdef

  /// Appends the message as it goes on the wire.
  /// - Throws: `WireError` of kind `notEncodable` if a block's name exceeds 255 bytes.
  public func encode(into buffer: inout [UInt8]) throws(WireError) {
    switch self {
    case .shut(let status):
      Self.header(.shut, 4, &buffer)
      buffer.append(bigEndian: status)
    case .pong(let value):
      Self.header(.pong, 4, &buffer)
      buffer.append(bigEndian: value)
    case .requestPages(nil, let start, let length):
      Self.header(.requestPages, 12, &buffer)
      buffer.append(bigEndian: start)
      buffer.append(bigEndian: length)
    case .requestPages(let block?, let start, let length):
      let name = try CountedText(block, "the name of a requested block")
      Self.header(.requestPagesOfBlock, 12 + name.size, &buffer)
      buffer.append(bigEndian: start)
      buffer.append(bigEndian: length)
      name.append(to: &buffer)
    case .receivedBitmap(let block, let bitmap):
      let name = try CountedText(block, "the name of a block with its bitmap")
      Self.header(.receivedBitmap, name.size, &buffer)
      name.append(to: &buffer)
      let bytes = bitmap.bytes
      buffer.append(bigEndian: UInt64(bytes.count))
      buffer.append(contentsOf: bytes)
      buffer.append(bigEndian: Self.bitmapEndMark)
    case .resumeAcknowledge(let value):
      Self.header(.resumeAcknowledge, 4, &buffer)
      buffer.append(bigEndian: value)
    case .switchoverAcknowledge:
      Self.header(.switchoverAcknowledge, 0, &buffer)
    case .knownPages(let prefixes):
      precondition((1...Self.prefixLimit).contains(prefixes.count), "what one message can carry")
      Self.header(.knownPages, prefixes.count * Self.prefixByteCount, &buffer)
      for prefix in prefixes {
        buffer.append(UInt8(truncatingIfNeeded: prefix >> 32))
        buffer.append(bigEndian: UInt32(truncatingIfNeeded: prefix))
      }
    case .knownPagesEnd(let count):
      Self.header(.knownPagesEnd, 8, &buffer)
      buffer.append(bigEndian: count)
    case .missedPages(let block, let offsets):
      precondition((1...Self.missedPageLimit).contains(offsets.count), "what one message carries")
      let name = try CountedText(block, "the name of a block with pages that are not here")
      Self.header(.missedPages, name.size + 8 * offsets.count, &buffer)
      name.append(to: &buffer)
      for offset in offsets { buffer.append(bigEndian: offset) }
    }
  }

  private static func header(_ code: Code, _ length: Int, _ buffer: inout [UInt8]) {
    buffer.append(bigEndian: code.rawValue)
    buffer.append(bigEndian: UInt16(length))
  }
}
