// Addresses as the guest sees them.

import Testing

@testable import GuestMemory

struct GuestAddressTests {
  @Test func `addresses of one value are one`() {
    #expect(GuestAddress(0x1000) == GuestAddress(0x1000))
  }
}
