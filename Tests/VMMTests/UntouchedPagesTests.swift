// What a source trusts of pages that held nothing when it looked.

import GuestMemory
import Testing

@testable import VMM

struct UntouchedPagesTests {
  private let block: RAMBlock

  init() throws {
    block = try RAMList().add(name: "pc.ram", byteCount: 2048 * 4096, backing: .sharedMemory)
  }

  private func write(page: Int) throws {
    try block.write(offset: page * 4096, ([7] as [UInt8]).span.bytes)
  }

  /// Expects pages to be found, or not.
  private func expect(
    _ pages: inout UntouchedPages, _ range: Range<Int>, _ expected: Bool, stands: Bool,
    location: SourceLocation = #_sourceLocation
  ) {
    let found = pages.contains(range, of: block, stands: stands)
    #expect(found == expected, "pages \(range)", sourceLocation: location)
  }

  @Test func `a running machine's pages are trusted within a run only`() throws {
    var pages = UntouchedPages()
    expect(&pages, 0..<1, false, stands: false)
    try write(page: 5)
    pages.forget(trusting: block, 0..<8)
    expect(&pages, 0..<1, true, stands: false)
    expect(&pages, 0..<5, true, stands: false)
    expect(&pages, 4..<6, false, stands: false)
    expect(&pages, 8..<9, false, stands: false)
    // Written, noticed, and in a run once more.
    try write(page: 0)
    pages.forget(trusting: block, 0..<8)
    expect(&pages, 0..<1, false, stands: false)
    expect(&pages, 1..<2, true, stands: false)
  }

  @Test func `what a machine wrote before it stood is not trusted afterwards`() throws {
    var pages = UntouchedPages()
    pages.forget(trusting: block, 0..<2048)
    expect(&pages, 0..<1, true, stands: false)
    try write(page: 0)
    expect(&pages, 0..<1, false, stands: true)
    expect(&pages, 1..<2, true, stands: true)
    expect(&pages, 1024..<2048, true, stands: true)
  }
}
