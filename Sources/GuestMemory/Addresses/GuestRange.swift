// Runs of guest-physical addresses that cannot wrap.

/// A run of guest-physical addresses; its end never wraps around.
public struct GuestRange: Hashable, Sendable {
  /// The first address.
  public let start: GuestAddress
  /// How many bytes there are; may be 0.
  public let byteCount: UInt64

  /// The run, or nil if it would reach beyond the last address.
  @inlinable
  public init?(start: GuestAddress, byteCount: UInt64) {
    guard start.advanced(by: byteCount) != nil else { return nil }
    self.start = start
    self.byteCount = byteCount
  }

  /// The first address behind the run.
  @inlinable
  public var end: GuestAddress { GuestAddress(start.rawValue &+ byteCount) }

  /// Whether the run has this address.
  @inlinable
  public func contains(_ address: GuestAddress) -> Bool { address >= start && address < end }
}

extension GuestRange: CustomStringConvertible {
  /// First and last address in hexadecimal, as `0xfee00000-0xfee00fff`.
  public var description: String {
    byteCount == 0 ? "\(start) (empty)" : "\(start)-\(GuestAddress(end.rawValue - 1))"
  }
}
