// XBZRLETests.swift: deltas that are right, wrong, and our own.

import FuzzFrame
import Testing
import WireLab

@testable import Wire

@Suite struct XBZRLETests {
  private func apply(_ delta: [UInt8], to page: [UInt8]) -> Result<[UInt8], WireError> {
    var result = page
    do throws(WireError) {
      var span = result.mutableSpan
      var bytes = span.mutableBytes
      let fed = delta
      try fed.withSpan { delta throws(WireError) in try XBZRLE.decode(delta, onto: &bytes) }
    } catch {
      return .failure(error)
    }
    return .success(result)
  }

  private let page = [UInt8](repeating: 0xaa, count: 4096)

  @Test func `an empty delta changes nothing`() throws {
    #expect(try apply([], to: page).get() == page)
  }

  @Test func `a delta may replace the whole page`() throws {
    let new = (0..<4096).map { UInt8(truncatingIfNeeded: $0) }
    #expect(try apply([0, 0x80, 0x20] + new, to: page).get() == new)
  }

  @Test func `runs change what they cover`() throws {
    var expected = page
    expected[2] = 1
    expected[3] = 2
    expected[4 + 130] = 3
    #expect(try apply([2, 2, 1, 2, 0x82, 1, 1, 3], to: page).get() == expected)
  }

  @Test(
    arguments: [
      ("a trailing unchanged run", [2, 1, 9, 4]),
      ("an empty unchanged run inside", [2, 1, 9, 0, 1, 9]),
      ("an empty changed run", [2, 0]),
      ("a length of three bytes", [0x80, 0x80, 1, 1, 9]),
      ("an unchanged run beyond the page", [0xff, 0x3f, 1, 9]),
      ("a changed run beyond the page", [0xff, 0x1f, 2, 9, 9]),
      ("fewer bytes than announced", [0, 5, 1, 2, 3]),
      ("half a length", [0, 0x85]),
      ("one byte", [7]),
    ] as [(String, [UInt8])])
  func `a malformed delta is refused`(what: String, delta: [UInt8]) {
    let result = apply(delta, to: page)
    #expect(throws: WireError.self, "\(what)") { try result.get() }
  }

  @Test func `a delta of our own gives the page back, in the canonical form`() throws {
    var random = SplitMix(state: 11)
    for round in 0..<40 {
      var new = page
      for _ in 0..<random.below(60) { new[random.below(4096)] = UInt8(random.below(256)) }
      let delta = page.withSpan { old in new.withSpan { XBZRLE.encode(old: old, new: $0) } }
      #expect(try apply(try #require(delta), to: page).get() == new, "round \(round)")
    }
  }

  @Test func `an equal page has an empty delta`() {
    #expect(page.withSpan { XBZRLE.encode(old: $0, new: $0) } == [])
  }

  @Test func `a page that changed everywhere by turns is sent plain`() {
    var new = page
    for index in stride(from: 0, to: 4096, by: 2) { new[index] = 1 }
    #expect(page.withSpan { old in new.withSpan { XBZRLE.encode(old: old, new: $0) } } == nil)
  }
}
