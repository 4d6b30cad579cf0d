// The address of a network interface.

/// A 48-bit Ethernet address.
public struct MACAddress: Hashable, Sendable, CustomStringConvertible {
  /// Six bytes, as they are on the wire.
  public let bytes: [UInt8]

  /// Reads `52:54:00:12:34:56`; nil for anything else, and for addresses of groups.
  public init?(_ text: String) {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    let bytes = parts.compactMap { $0.count == 2 ? UInt8($0, radix: 16) : nil }
    guard parts.count == 6, bytes.count == 6, bytes[0] & 1 == 0 else { return nil }
    self.bytes = bytes
  }

  /// An address in the range that virtual machines use, different for each index up to 65,535.
  public init(index: Int) {
    bytes = [
      0x52, 0x54, 0x00, 0x12, UInt8(truncatingIfNeeded: index >> 8),
      UInt8(truncatingIfNeeded: index),
    ]
  }

  /// The six bytes in hexadecimal, with colons between.
  public var description: String {
    bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
  }
}
