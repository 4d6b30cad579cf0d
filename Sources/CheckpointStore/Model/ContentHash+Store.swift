// What the store makes of hashes: the mark of a free entry, the bits that a reference carries.

import PageHash

extension ContentHash {
  /// What no entry has: the mark of a free one.
  static let none = ContentHash(0, 0, 0, 0)

  /// The 24 bits that a reference and a slot carry beside the number.
  var fingerprint: UInt64 { word3 >> 40 }
}

extension Digester {
  /// A digester; where there can be none, the store says so.
  static func make() throws(StoreError) -> Digester {
    do throws(DigesterError) {
      return try Digester()
    } catch {
      throw .invalidRequest(error.description)
    }
  }
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
