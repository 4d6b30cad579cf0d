// Where the guest's processors and devices see something: never a place in a RAM block or a bitmap.

/// A guest-physical address.
///
/// Addresses come from the guest, so every calculation on them is checked.
public struct GuestAddress: Hashable, Comparable, Sendable {
  /// The address in bytes from the beginning of the address space.
  public let rawValue: UInt64

  /// An address as a vCPU or a device's ring gives it.
  @inlinable
  public init(_ rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// The address `byteCount` bytes further on, or nil if there is none.
  @inlinable
  public func advanced(by byteCount: UInt64) -> GuestAddress? {
    let (sum, overflows) = rawValue.addingReportingOverflow(byteCount)
    return overflows ? nil : GuestAddress(sum)
  }

  /// Whether one address lies below another.
  @inlinable
  public static func < (left: GuestAddress, right: GuestAddress) -> Bool {
    left.rawValue < right.rawValue
  }
}

extension GuestAddress: CustomStringConvertible {
  /// The address in hexadecimal, as `0xfee00000`.
  public var description: String { "0x" + String(rawValue, radix: 16) }
}

extension GuestAddress: ExpressibleByIntegerLiteral {
  /// An address written in the source.
  @inlinable
  public init(integerLiteral value: UInt64) {
    self.init(value)
  }
}
