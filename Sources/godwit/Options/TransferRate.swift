// A rate of bytes, as people write one.

import ArgumentParser

/// Bytes a second: `800K`, `100M`, `1.5G`, or a number of bytes.
struct TransferRate: ExpressibleByArgument, Equatable, Sendable {
  /// The rate; at least 1.
  let bytesPerSecond: UInt64

  /// Reads an option's value; units are powers of 1024, and `B`, `iB` and `/s` may follow them.
  init?(argument: String) {
    var text = argument.uppercased()
    if text.hasSuffix("/S") { text.removeLast(2) }
    if text.hasSuffix("IB") { text.removeLast(2) } else if text.hasSuffix("B") { text.removeLast() }
    let shifts: [Character: Int] = ["K": 10, "M": 20, "G": 30, "T": 40]
    let shift = text.last.flatMap { shifts[$0] } ?? 0
    if shift > 0 { text.removeLast() }
    // Digits and one point: what Double reads beyond that ("0x1p3", "nan") is no rate.
    guard !text.isEmpty, text.allSatisfy({ $0.isASCII && ($0.isNumber || $0 == ".") }),
      let number = Double(text)
    else { return nil }
    let bytes = number * Double(UInt64(1) << UInt64(shift))
    guard bytes >= 1, bytes < 0x1p62 else { return nil }
    bytesPerSecond = UInt64(bytes)
  }
}
