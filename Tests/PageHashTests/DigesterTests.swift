// Hashes of pages, alone and in pairs.

import Testing

@testable import PageHash

@Suite struct DigesterTests {
  private func page(_ number: UInt64) -> [UInt8] {
    var state = number
    return (0..<4096).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return number == 3 ? 0 : UInt8(truncatingIfNeeded: state >> 56)
    }
  }

  @Test func `two pages hashed side by side have the hashes that OpenSSL gives`() throws {
    let digester = try Digester()
    let pages = (UInt64(0)..<7).flatMap(page)
    let hashes = digester.hashPages(pages.span.bytes)
    #expect(hashes.count == 7)
    for (index, hash) in hashes.enumerated() {
      #expect(hash == digester.hash(Array(pages[index * 4096..<(index + 1) * 4096])))
    }
  }

  @Test func `the example of FIPS 180-4 has its hash`() throws {
    let digest = try Digester().hash(Array("abc".utf8))
    #expect(digest.hex == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
    #expect(digest.bytes.count == ContentHash.byteCount)
    #expect(digest.bytes.first == 0xba)
  }
}
