// The SHA-256 of a page (or of anything else), as four words.

/// A SHA-256; word 0 holds its first eight bytes, little-endian.
struct ContentHash: Hashable, Sendable, BitwiseCopyable {
  let word0: UInt64
  let word1: UInt64
  let word2: UInt64
  let word3: UInt64

  init(_ word0: UInt64, _ word1: UInt64, _ word2: UInt64, _ word3: UInt64) {
    self.word0 = word0
    self.word1 = word1
    self.word2 = word2
    self.word3 = word3
  }

  /// What no entry has: the mark of a free one.
  static let none = ContentHash(0, 0, 0, 0)

  /// The 24 bits that a reference and a slot carry beside the number.
  var fingerprint: UInt64 { word3 >> 40 }

  /// The 32 bytes.
  var bytes: [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(32)
    for word in [word0, word1, word2, word3] { out.appendLittleEndian(word) }
    return out
  }

  /// 64 hexadecimal digits.
  var hex: String { hexadecimal(bytes) }
}

/// Two lower-case digits a byte.
func hexadecimal(_ bytes: [UInt8]) -> String {
  let digits: [Character] = Array("0123456789abcdef")
  var text = ""
  for byte in bytes {
    text.append(digits[Int(byte >> 4)])
    text.append(digits[Int(byte & 15)])
  }
  return text
}
