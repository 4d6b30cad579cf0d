// Sizes of memory as people write them.

/// A size of memory in bytes, written as a number with K, M, G or T behind it, powers of 1024.
public struct MemorySize: Sendable, Equatable {
  /// The size in bytes.
  public let byteCount: UInt64

  /// Reads `512M`, `4G`, `4GiB`, `0.5G` or a number of bytes; nil for anything else.
  public init?(_ text: String) {
    var digits = text[...]
    if digits.hasSuffix("iB") { digits = digits.dropLast(2) }
    let units: [Character: UInt64] = ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40]
    var unit: UInt64 = 1
    if let last = digits.last, let known = units[Character(last.uppercased())] {
      unit = known
      digits = digits.dropLast()
    }
    if let whole = UInt64(digits) {
      let (product, isTooLarge) = whole.multipliedReportingOverflow(by: unit)
      guard !isTooLarge else { return nil }
      byteCount = product
    } else if unit > 1, let number = Double(digits), number >= 0, number < 1_048_576 {
      byteCount = UInt64(number * Double(unit))
    } else {
      return nil
    }
  }
}
