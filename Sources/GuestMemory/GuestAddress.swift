// An address as the guest sees it.

/// A guest-physical address, in bytes.
public struct GuestAddress: Hashable, Sendable {
  /// The address's value, 0 upwards.
  public let value: UInt64

  /// Creates the address of that value.
  public init(_ value: UInt64) {
    self.value = value
  }
}
