// HostileStreamTests.swift: streams that no QEMU sends, each refused for what it is.

import Testing
import WireLab

@testable import Wire

@Suite struct HostileStreamTests {
  /// A stream up to the announcement of its blocks, and what `build` adds to it.
  private func stream(
    _ blocks: [RAMBlockDescription] = [RAMBlockDescription(name: "a", usedLength: 8192)],
    _ build: (inout StreamEncoder) throws -> Void
  ) throws -> [UInt8] {
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "m"))
    try encoder.appendSectionStart(.ram(id: 1))
    try encoder.appendRAMSetup(blocks)
    try build(&encoder)
    return encoder.buffer
  }

  private func failure(
    _ bytes: [UInt8], _ options: StreamDecoder.Options = .init()
  ) -> WireError.Kind? {
    let whole = Outcome(bytes, options: options) { .max }
    let split = Outcome(bytes, options: options) { 1 }
    #expect(whole == split)
    return whole.error?.kind
  }

  private func word(_ value: UInt64) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(bigEndian: value)
    return bytes
  }

  @Test func `2^60 bytes of RAM are a number until pages come`() throws {
    let huge = RAMBlockDescription(name: "a", usedLength: 1 << 60)
    let bytes = try stream([huge]) { encoder in
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 1)
    }
    let outcome = Outcome(bytes, options: .init()) { .max }
    #expect(outcome.events.firstBlocks == [huge])
    #expect(outcome.error?.kind == .truncated)
  }

  @Test func `blocks whose lengths overflow their sum are refused`() throws {
    var bytes = try stream { _ in }
    let total = try #require(bytes.firstPlace(of: word(8192 | 4)))
    bytes.replaceSubrange(total..., with: word(~0xfff | 4))
    for name in ["a", "b"] {
      bytes += [1] + Array(name.utf8) + word(1 << 63)
    }
    #expect(failure(bytes) == .malformedBlockList)
  }

  @Test func `blocks that exceed the announced total are refused`() throws {
    var bytes = try stream { _ in }
    let total = try #require(bytes.firstPlace(of: word(8192 | 4)))
    bytes.replaceSubrange(total..<total + 8, with: word(4096 | 4))
    #expect(failure(bytes) == .malformedBlockList)
  }

  @Test func `a block that is announced twice is refused`() throws {
    let block = RAMBlockDescription(name: "a", usedLength: 4096)
    #expect(failure(try stream([block, block]) { _ in }) == .malformedBlockList)
  }

  @Test func `more blocks than the limit are refused`() throws {
    let blocks = (0..<10).map { RAMBlockDescription(name: "b\($0)", usedLength: 4096) }
    var options = StreamDecoder.Options()
    options.limits.blockCount = 9
    #expect(failure(try stream(blocks) { _ in }, options) == .limitExceeded)
  }

  @Test(arguments: [0x001, 0x00a, 0x080, 0x004, 0x030, 0x220, 0x400, 0x000, 0x020, 0x018])
  func `a combination of flags that does not exist is refused`(flags: UInt64) throws {
    let bytes = try stream { $0.append(verbatim: word(0x1000 | flags) + [1, 0x61, 0]) }
    #expect(failure(bytes) == .illegalFlags)
  }

  @Test func `a first page that continues is refused`() throws {
    #expect(failure(try stream { $0.append(verbatim: word(0x22) + [0]) }) == .unknownBlock)
  }

  @Test func `a page of an unknown block is refused`() throws {
    let bytes = try stream { $0.append(verbatim: word(0x02) + [1, 0x7a, 0]) }
    #expect(failure(bytes) == .unknownBlock)
  }

  @Test func `a page beyond its block is refused`() throws {
    let bytes = try stream { $0.append(verbatim: word(0x2002) + [1, 0x61, 0]) }
    #expect(failure(bytes) == .addressOutOfBlock)
    let later = try stream { encoder in
      try encoder.appendZeroPage(RAMPageAddress(blockIndex: 0, offset: 0))
      encoder.append(verbatim: word(0x2022) + [0])
    }
    #expect(failure(later) == .addressOutOfBlock)
  }

  @Test func `a delta longer than a page is refused`() throws {
    let bytes = try stream { $0.append(verbatim: word(0x40) + [1, 0x61, 1, 0x10, 1]) }
    #expect(failure(bytes) == .malformedPage)
  }

  @Test(
    arguments: [
      [0, 0, 0, 0], [0xff, 0xff, 0xff, 0xff], [0, 0, 0, 3, 1, 2, 3],
      [0, 0, 0, 8, 0x78, 0x9c, 0x03, 0, 0, 0, 0, 1],
    ] as [[UInt8]])
  func `a compressed page that is not one page is refused`(rest: [UInt8]) throws {
    let bytes = try stream { $0.append(verbatim: word(0x100) + [1, 0x61] + rest) }
    #expect(failure(bytes) == .malformedPage)
  }

  @Test func `a section may not start twice, nor continue unless it started`() throws {
    let twice = try stream { encoder in
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 1)
      try encoder.appendSectionStart(.ram(id: 1))
    }
    #expect(failure(twice) == .unknownSection)
    let never = try stream { encoder in
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 1)
      encoder.appendSectionPart(id: 9)
    }
    #expect(failure(never) == .unknownSection)
    let ended = try stream { encoder in
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 1)
      encoder.appendSectionEnd(id: 1)
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 1)
      encoder.appendSectionPart(id: 1)
    }
    #expect(failure(ended) == .unknownSection)
  }

  @Test func `a footer has to be that of its section`() throws {
    let wrong = try stream { encoder in
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 2)
    }
    #expect(failure(wrong) == .footerMismatch)
    let missing = try stream { encoder in
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 1)
      encoder.appendSectionPart(id: 1)
      encoder.appendRAMEndOfSection()
      encoder.appendSectionPart(id: 1)
    }
    #expect(failure(missing) == .footerMismatch)
  }

  @Test(
    arguments: [
      [8, 0, 0, 0, 0], [8, 0, 12, 0, 0], [8, 0, 1, 0, 1, 0], [8, 0, 2, 0, 3, 0, 0, 0],
      [8, 0, 3, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0], [8, 0, 10, 0, 5, 9, 1, 2, 3, 4],
      [8, 0, 6, 0, 20, 1, 1, 0x61, 0] + [UInt8](repeating: 0, count: 16),
      [8, 0, 6, 0, 21, 0, 1, 0x61, 0] + [UInt8](repeating: 0, count: 17),
    ] as [[UInt8]])
  func `a malformed command is refused`(bytes: [UInt8]) throws {
    let stream = try stream { encoder in
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 1)
      encoder.append(verbatim: bytes)
    }
    #expect(failure(stream) == .malformedCommand)
  }

  @Test func `a package of 4 GiB is refused before any of it comes`() throws {
    let stream = try stream { encoder in
      encoder.appendRAMEndOfSection()
      encoder.appendFooter(id: 1)
      encoder.append(verbatim: [8, 0, 7, 0, 4, 0xff, 0xff, 0xff, 0xff])
    }
    #expect(failure(stream) == .limitExceeded)
  }

  @Test(
    arguments: [
      ("no stream", Array("#!/bin/sh\n".utf8), WireError.Kind.notAStream),
      ("version 2", [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 2], .unsupported),
      (
        "a machine name of 4 GiB", [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3, 7, 255, 255, 255, 255],
        .limitExceeded
      ),
      ("an element that is none", [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3, 9], .unexpectedElement),
    ] as [(String, [UInt8], WireError.Kind)])
  func `a wrong beginning is refused`(what: String, bytes: [UInt8], kind: WireError.Kind) {
    #expect(failure(bytes) == kind, "\(what)")
  }

  @Test(arguments: ["mapped-ram"])
  func `a file that is no stream by its capabilities is refused`(name: String) throws {
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "m", capabilities: [name]))
    #expect(failure(encoder.buffer + [1]) == .unsupported)
  }

  @Test func `every error is a sentence with an offset`() throws {
    let bytes = try stream { $0.append(verbatim: word(0x2002) + [1, 0x61, 0]) }
    let error = try #require(Outcome(bytes, options: .init()) { .max }.error)
    #expect(
      error.description
        == "Reading the records of RAM section 1 at byte \(bytes.count - 11): expected an address "
        + "below 8192, found 8192 in block a. The stream is damaged or not QEMU's: take it again "
        + "from the source.")
  }
}
