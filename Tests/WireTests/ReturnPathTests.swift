// ReturnPathTests.swift: messages that no destination may send.

import Testing
import WireLab

@testable import Wire

@Suite struct ReturnPathTests {
  /// Malformed messages, and what each is.
  static let malformed: [(String, [UInt8])] = [
    ("message 0", [0, 0, 0, 0]),
    ("message 8", [0, 8, 0, 0]),
    ("a short PONG", [0, 2, 0, 3, 0, 0, 0]),
    ("a long SHUT", [0, 1, 0, 5, 0, 0, 0, 0, 0]),
    (
      "a request whose name is longer than itself",
      [0, 3, 0, 13] + [UInt8](repeating: 0, count: 12) + [9]
    ),
    (
      "a request whose name is shorter",
      [0, 3, 0, 15] + [UInt8](repeating: 0, count: 12) + [1, 97, 98]
    ),
    ("the bitmap of an unknown block", [0, 5, 0, 2, 1, 0x7a]),
    ("a bitmap of 2^60 bytes", [0, 5, 0, 2, 1, 0x62] + [0x10, 0, 0, 0, 0, 0, 0, 0]),
    (
      "a bitmap without its end mark",
      [0, 5, 0, 2, 1, 0x62, 0, 0, 0, 0, 0, 0, 0, 8] + [UInt8](repeating: 1, count: 16)
    ),
  ]

  @Test(arguments: malformed.indices)
  func `a malformed message is refused`(index: Int) throws {
    let (what, bytes) = Self.malformed[index]
    for size in [1, bytes.count] {
      let error = #expect(throws: WireError.self, "\(what)") {
        _ = try PostcopyStreamTests.messages(bytes, pageCounts: ["b": 3], pieceSize: size)
      }
      #expect(error?.kind == .malformedReturnPath, "\(what)")
    }
  }

  @Test func `a name that is too long cannot be encoded`() {
    var buffer: [UInt8] = []
    let message = ReturnPathMessage.requestPages(
      block: String(repeating: "x", count: 256), start: 0, length: 4096)
    let error = #expect(throws: WireError.self) { try message.encode(into: &buffer) }
    #expect(error?.kind == .notEncodable)
  }

  @Test func `a decoder that refused goes on refusing`() throws {
    var decoder = ReturnPathDecoder()
    let wrong: [UInt8] = [0, 9, 0, 0]
    let right: [UInt8] = [0, 1, 0, 4, 0, 0, 0, 0]
    #expect(throws: WireError.self) { try wrong.withBytes(0..<4) { try decoder.feed($0) { _ in } } }
    #expect(throws: WireError.self) { try right.withBytes(0..<8) { try decoder.feed($0) { _ in } } }
  }

  @Test(arguments: [0, 1, 63, 64, 65, 1000])
  func `a bitmap has its size and its bits on the wire`(pages: Int) throws {
    var bitmap = ReceivedBitmap(pageCount: pages)
    for index in stride(from: 0, to: pages, by: 3) { bitmap[index] = true }
    #expect(bitmap.bytes.count == (pages + 63) / 64 * 8)
    #expect(bitmap.receivedCount == (pages + 2) / 3)
    if pages > 0 { #expect(bitmap.bytes[0] & 1 == 1) }
    #expect(ReceivedBitmap(pageCount: pages, bytes: bitmap.bytes) == bitmap)
    #expect(ReceivedBitmap(pageCount: pages, bytes: bitmap.bytes + [0]) == nil)
  }
}
