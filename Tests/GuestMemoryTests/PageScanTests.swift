// Scans find the one byte that matters, wherever it is.

import Testing

@testable import GuestMemory

struct PageScanTests {
  @Test(arguments: [0, 1, 7, 63, 64, 255, 256, 257, 511, 1000])
  func `one byte makes bytes of any length and place not zero`(count: Int) {
    for start in [0, 1, 5] {
      var bytes = [UInt8](repeating: 0, count: start + count + 3)
      // What lies before and behind does not matter.
      for index in 0..<start { bytes[index] = 1 }
      bytes[start + count] = 1
      let isZero = PageScan.isZero(bytes.span.bytes.extracting(start..<start + count))
      #expect(isZero)
      for index in Set([0, count / 2, count - 1]) where index >= 0 && index < count {
        bytes[start + index] = 0x80
        let isStillZero = PageScan.isZero(bytes.span.bytes.extracting(start..<start + count))
        #expect(!isStillZero)
        bytes[start + index] = 0
      }
    }
  }

  @Test func `pages are told apart by number`() {
    var bytes = [UInt8](repeating: 0, count: 5 * 64)
    let before = bytes
    bytes[64] = 1
    bytes[4 * 64 + 63] = 1
    #expect(PageScan.nonzeroPages(in: bytes.span.bytes, pageSize: 64) == [1, 4])
    #expect(
      PageScan.differingPages(bytes.span.bytes, before.span.bytes, pageSize: 64) == [1, 4])
    let isEqual = PageScan.areEqual(before.span.bytes, before.span.bytes)
    #expect(isEqual)
  }

  @Test func `a block never touched is zero`() throws {
    let block = try RAMList().add(name: "ram", byteCount: 1 << 20)
    #expect(try block.isZero(offset: 0, byteCount: 1 << 20))
    try block.write(offset: (1 << 20) - 1, ([1] as [UInt8]).span.bytes)
    #expect(try !block.isZero(offset: 4096, byteCount: (1 << 20) - 4096))
  }
}
