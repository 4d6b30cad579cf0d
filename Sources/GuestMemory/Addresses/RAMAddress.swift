// Where a byte of RAM is among all RAM blocks: what dirty bitmaps are indexed by.

/// A place in the RAM list's own address space, in which every block has its place.
///
/// It says nothing about where (or whether) the guest sees that memory.
public struct RAMAddress: Hashable, Comparable, Sendable {
  /// The place in bytes from the beginning of the RAM list's address space.
  public let rawValue: UInt64

  /// The place that many bytes from the beginning.
  @inlinable
  public init(_ rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// The number of the page that holds this place: its bit in a dirty bitmap.
  @inlinable
  public var pageIndex: Int { Int(rawValue / UInt64(RAMRange.pageSize)) }

  /// The place `byteCount` bytes further on, which must exist.
  @inlinable
  public func advanced(by byteCount: Int) -> RAMAddress {
    precondition(byteCount >= 0, "places are counted upwards")
    return RAMAddress(rawValue + UInt64(byteCount))
  }

  /// Whether one place lies below another.
  @inlinable
  public static func < (left: RAMAddress, right: RAMAddress) -> Bool {
    left.rawValue < right.rawValue
  }
}

extension RAMAddress: CustomStringConvertible {
  /// The place in hexadecimal, as `ram+0x40000`.
  public var description: String { "ram+0x" + String(rawValue, radix: 16) }
}
