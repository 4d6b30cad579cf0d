// TruncationTests.swift: streams that end too early, or were damaged on the way.

import FuzzFrame
import Testing
import WireLab

@testable import Wire

@Suite struct TruncationTests {
  static let seeds = [
    "precopy", "records", "early-and-opaque", "postcopy", "background", "early-after-start",
  ]

  @Test(arguments: seeds)
  func `a stream that is cut anywhere is an error that says so`(name: String) throws {
    let bytes = try Seeds.stream(name)
    for length in 0..<bytes.count {
      let outcome = Outcome(Array(bytes[..<length]), options: .init()) { .max }
      #expect(outcome.error?.kind == .truncated, "cut at \(length)")
      #expect(outcome.error?.offset ?? .max <= UInt64(length), "cut at \(length)")
    }
    #expect(Outcome(bytes, options: .init()) { .max }.error == nil)
  }

  @Test(arguments: ["m68k-virt-7.2", "microvm-10.0"])
  func `a captured stream that is cut is an error that says so`(name: String) throws {
    let bytes = try Fixture(name: name).bytes
    var random = SplitMix(state: 5)
    for _ in 0..<60 {
      let length = random.below(bytes.count)
      let outcome = Outcome(Array(bytes[..<length]), options: .init()) { .max }
      #expect(outcome.error?.kind == .truncated, "cut at \(length)")
    }
  }

  @Test(arguments: seeds)
  func `flipped bits give an error or another stream, however they are split`(
    name: String
  ) throws {
    let bytes = try Seeds.stream(name)
    var random = SplitMix(state: 17)
    for _ in 0..<150 {
      var damaged = bytes
      for _ in 0...random.below(3) {
        damaged[random.below(bytes.count)] ^= 1 << UInt8(random.below(8))
      }
      let whole = Outcome(damaged, options: .init()) { .max }
      let split = Outcome(damaged, options: .init()) { 1 + random.below(9) }
      #expect(whole == split)
    }
  }

  @Test func `bytes after the end are refused, and named`() throws {
    for bytes in [try Seeds.stream("precopy"), try Seeds.stream("postcopy")] {
      let outcome = Outcome(bytes + [0], options: .init()) { .max }
      #expect(outcome.error?.kind == .bytesAfterEnd)
      #expect(outcome.error?.offset == UInt64(bytes.count))
    }
  }

  @Test func `a decoder that refused goes on refusing`() throws {
    var decoder = StreamDecoder()
    var recorder = Recorder()
    let wrong: [UInt8] = Array("not a stream".utf8)
    let right = try Seeds.stream("precopy")
    #expect(throws: WireError.self) {
      try wrong.withBytes(0..<wrong.count) { try decoder.feed($0, to: &recorder) }
    }
    #expect(throws: WireError.self) {
      try right.withBytes(0..<right.count) { try decoder.feed($0, to: &recorder) }
    }
    #expect(throws: WireError.self) { try decoder.finish(to: &recorder) }
    #expect(recorder.calls.isEmpty)
  }

  @Test func `what a visitor throws comes through`() throws {
    struct Refusal: Error {}
    struct Refuser: StreamVisitor {
      mutating func visit(_ event: StreamEvent) {}
      mutating func visitPage(_ page: RAMPageAddress, content: RawSpan) throws {
        throw Refusal()
      }
      mutating func visitZeroPage(_ page: RAMPageAddress, fill: UInt8) {}
      mutating func visitDelta(_ page: RAMPageAddress, xbzrle: RawSpan) {}
    }
    var refuser = Refuser()
    let bytes = try Seeds.stream("precopy")
    #expect(throws: Refusal.self) { _ = try bytes.decode(to: &refuser) }
  }
}
