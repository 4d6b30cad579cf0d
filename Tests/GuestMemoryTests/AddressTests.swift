// Addresses and runs of them, at the edges where a guest would have them wrap.

import Testing

@testable import GuestMemory

struct AddressTests {
  @Test func `an address beyond the last is no address`() {
    #expect(GuestAddress(.max).advanced(by: 1) == nil)
    #expect(GuestAddress(.max - 7).advanced(by: 7) == GuestAddress(.max))
    #expect(GuestRange(start: 0x1000, byteCount: .max) == nil)
  }

  @Test func `a run covers every page that it touches`() {
    #expect(RAMRange(covering: RAMAddress(4095), byteCount: 2).pages == 0..<2)
    #expect(RAMRange(covering: RAMAddress(4096), byteCount: 4096).pages == 1..<2)
    #expect(RAMRange(covering: RAMAddress(5000), byteCount: 0).pages.isEmpty)
  }

  @Test func `an empty range has no address`() throws {
    let range = try #require(GuestRange(start: 0x1000, byteCount: 0))
    #expect(!range.contains(0x1000))
  }
}
