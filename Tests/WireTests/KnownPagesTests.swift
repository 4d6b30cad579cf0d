// KnownPagesTests.swift: Godwit's own additions to the format, and that nobody else sees them.

import Testing
import WireLab

@testable import Wire

@Suite struct KnownPagesTests {
  private static let options = StreamDecoder.Options(takesKnownPages: true)

  private static func page(_ block: Int, _ offset: UInt64) -> RAMPageAddress {
    RAMPageAddress(blockIndex: block, offset: offset)
  }

  @Test func `a page by its hash is the word, its block's name and 32 bytes`() throws {
    var encoder = StreamEncoder(blockNames: ["a"])
    let digest = [UInt8](0..<32)
    try encoder.appendPageHash(Self.page(0, 0x3000), digest: digest.span.bytes)
    try encoder.appendPageHash(Self.page(0, 0x4000), digest: digest.span.bytes)
    #expect(
      encoder.buffer
        == [0, 0, 0, 0, 0, 0, 0x34, 0, 1, 0x61] + digest + [0, 0, 0, 0, 0, 0, 0x44, 0x20] + digest)
  }

  @Test func `a stream with hashes is read where both ends agreed, split anywhere`() throws {
    let stream = try Seeds.hashes()
    let whole = Outcome(stream, options: Self.options) { .max }
    #expect(whole.error == nil)
    let pages = whole.calls.compactMap { call -> RAMPageAddress? in
      if case .hash(let page, _, 32) = call { page } else { nil }
    }
    #expect(pages == [Self.page(0, 0), Self.page(0, 4096), Self.page(1, 4096), Self.page(1, 0)])
    #expect(whole.events.contains(.command(.askKnownPages(limit: 1 << 16))))
    for size in [1, 7, 41, 4096] {
      #expect(Outcome(stream, options: Self.options) { size } == whole)
    }
    var reencoder = Reencoder(targetPageSize: 4096)
    var decoder = StreamDecoder(options: Self.options)
    try stream.withBytes(0..<stream.count) { try decoder.feed($0, to: &reencoder) }
    #expect(reencoder.encoder.buffer == stream)
  }

  @Test func `without the agreement the question is refused, and the error says what to do`()
    throws
  {
    let error = Outcome(try Seeds.hashes(), options: .init()) { .max }.error
    #expect(error?.kind == .malformedCommand)
    #expect(error?.description.contains("x-known-pages") == true)
  }

  @Test func `without the agreement a hash is refused, and the error says what to do`() throws {
    var encoder = StreamEncoder()
    encoder.appendHeader()
    try encoder.append(StreamConfiguration(machine: "m-1", targetPageBits: 12))
    try encoder.appendSectionStart(.ram(id: 2))
    try encoder.appendRAMSetup([RAMBlockDescription(name: "a", usedLength: 16384)])
    let digest = [UInt8](repeating: 1, count: 32)
    try encoder.appendPageHash(Self.page(0, 0), digest: digest.span.bytes)
    let error = Outcome(encoder.buffer, options: .init()) { .max }.error
    #expect(error?.kind == .illegalFlags)
    #expect(error?.description.contains("x-known-pages") == true)
  }

  @Test func `where target pages are too small for the flag it stays a part of the address`()
    throws
  {
    for name in ["precopy", "records", "postcopy"] {
      let stream = try Seeds.stream(name)
      let alone = Outcome(stream, options: .init()) { .max }
      #expect(Outcome(stream, options: Self.options) { .max } == alone)
    }
  }

  @Test func `a stream that stops anywhere is truncated, whatever it holds`() throws {
    let stream = try Seeds.hashes()
    for end in stream.indices {
      let outcome = Outcome(Array(stream[..<end]), options: Self.options) { .max }
      #expect(outcome.error?.kind == .truncated, "\(end)")
    }
  }

  // MARK: The return path

  private static func messages(
    _ bytes: [UInt8], pieceSize: Int, takesKnownPages: Bool = true
  ) throws -> [ReturnPathMessage] {
    var decoder = ReturnPathDecoder(takesKnownPages: takesKnownPages)
    var messages: [ReturnPathMessage] = []
    var position = 0
    while position < bytes.count {
      let end = min(bytes.count, position + pieceSize)
      try bytes.withBytes(position..<end) { try decoder.feed($0) { messages.append($0) } }
      position = end
    }
    return messages
  }

  @Test func `an announced page takes five bytes`() throws {
    var buffer: [UInt8] = []
    let prefixes: [UInt64] = [0x01_0203_0405, ReturnPathMessage.prefixMask]
    try ReturnPathMessage.knownPages(prefixes: prefixes).encode(into: &buffer)
    #expect(buffer == [0x47, 0x57, 0, 10, 1, 2, 3, 4, 5, 255, 255, 255, 255, 255])
    #expect(try Self.messages(buffer, pieceSize: 3) == [.knownPages(prefixes: prefixes)])
  }

  @Test func `the longest messages go through whole`() throws {
    var buffer: [UInt8] = []
    let prefixes = (0..<UInt64(ReturnPathMessage.prefixLimit)).map { $0 << 20 }
    let offsets = (0..<UInt64(ReturnPathMessage.missedPageLimit)).map { $0 << 12 }
    let name = String(repeating: "n", count: 255)
    let sent: [ReturnPathMessage] = [
      .knownPages(prefixes: prefixes), .missedPages(block: name, offsets: offsets),
      .knownPagesEnd(count: .max),
    ]
    for message in sent { try message.encode(into: &buffer) }
    #expect(try Self.messages(buffer, pieceSize: 1000) == sent)
  }

  /// Messages that are not whole, and what each is.
  static let malformed: [(String, [UInt8])] = [
    ("an announcement of nothing", [0x47, 0x57, 0, 0]),
    ("an announcement of a page and a half", [0x47, 0x57, 0, 7, 1, 2, 3, 4, 5, 6, 7]),
    (
      "an announcement longer than any",
      [0x47, 0x57, 0xff, 0xff] + [UInt8](repeating: 0, count: 0xffff)
    ),
    ("an end without its count", [0x47, 0x58, 0, 4, 0, 0, 0, 0]),
    ("missed pages without any", [0x47, 0x59, 0, 9, 8] + [UInt8](repeating: 97, count: 8)),
    ("a missed page and a half", [0x47, 0x59, 0, 14, 1, 97] + [UInt8](repeating: 0, count: 12)),
    (
      "missed pages whose block's name is longer than the message",
      [0x47, 0x59, 0, 10, 200] + [UInt8](repeating: 97, count: 9)
    ),
    ("a message that nobody has", [0x47, 0x5a, 0, 0]),
  ]

  @Test(arguments: malformed.indices)
  func `a malformed message is refused`(index: Int) throws {
    let (what, bytes) = Self.malformed[index]
    for size in [1, bytes.count] {
      let error = #expect(throws: WireError.self, "\(what)") {
        _ = try Self.messages(bytes, pieceSize: size)
      }
      #expect(error?.kind == .malformedReturnPath, "\(what)")
    }
  }

  @Test func `without the agreement all of them are refused`() throws {
    for message: ReturnPathMessage in [
      .knownPages(prefixes: [1]), .knownPagesEnd(count: 1), .missedPages(block: "a", offsets: [0]),
    ] {
      var buffer: [UInt8] = []
      try message.encode(into: &buffer)
      let error = #expect(throws: WireError.self) {
        _ = try Self.messages(buffer, pieceSize: 1, takesKnownPages: false)
      }
      #expect(error?.description.contains("x-known-pages") == true)
    }
  }
}
