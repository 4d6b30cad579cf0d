// The SHA-256 of a page (or of anything else), as four words.

/// A SHA-256; word 0 holds its first eight bytes, little-endian.
public struct ContentHash: Hashable, Sendable, BitwiseCopyable {
  /// How many bytes it has.
  public static let byteCount = 32

  /// Bytes 0 to 7, little-endian.
  public let word0: UInt64
  /// Bytes 8 to 15, little-endian.
  public let word1: UInt64
  /// Bytes 16 to 23, little-endian.
  public let word2: UInt64
  /// Bytes 24 to 31, little-endian.
  public let word3: UInt64

  /// A hash of four words.
  public init(_ word0: UInt64, _ word1: UInt64, _ word2: UInt64, _ word3: UInt64) {
    self.word0 = word0
    self.word1 = word1
    self.word2 = word2
    self.word3 = word3
  }

  /// The first 40 bits, byte 0 in the highest: what a page is announced by.
  public var prefix: UInt64 { word0.byteSwapped >> 24 }

  /// The 32 bytes.
  public var bytes: [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(Self.byteCount)
    for word in [word0, word1, word2, word3] {
      for shift in stride(from: 0 as UInt64, to: 64, by: 8) {
        out.append(UInt8(truncatingIfNeeded: word >> shift))
      }
    }
    return out
  }

  /// 64 hexadecimal digits.
  public var hex: String {
    let digits: [Character] = Array("0123456789abcdef")
    var text = ""
    for byte in bytes {
      text.append(digits[Int(byte >> 4)])
      text.append(digits[Int(byte & 15)])
    }
    return text
  }
}
