// Page faults of this process's own memory, answered and noticed.

import CLinux
import Glibc
import Synchronization
import Testing
import Transport

@testable import Userfault

/// Memory of a few pages; sendable because the tests say who touches it when.
final class SomePages: @unchecked Sendable {
  static let pageSize = 4096
  let memory: UnsafeMutableRawPointer
  let byteCount: Int

  init(count: Int, isShared: Bool = false) {
    byteCount = count * Self.pageSize
    memory = mmap(
      nil, byteCount, PROT_READ | PROT_WRITE,
      (isShared ? MAP_SHARED : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0)!
  }

  deinit { munmap(memory, byteCount) }

  var range: Range<UInt> { page(0, count: byteCount / Self.pageSize) }

  func page(_ index: Int, count: Int = 1) -> Range<UInt> {
    let start = UInt(bitPattern: memory) + UInt(index * Self.pageSize)
    return start..<start + UInt(count * Self.pageSize)
  }

  func store(_ value: UInt8, page: Int) {
    memory.storeBytes(of: value, toByteOffset: page * Self.pageSize, as: UInt8.self)
  }

  func load(page: Int) -> UInt8 {
    memory.load(fromByteOffset: page * Self.pageSize, as: UInt8.self)
  }
}

extension Userfault {
  /// Protects a range from writes, or lifts that and wakes who waits.
  fileprivate func setWriteProtected(_ range: Range<UInt>, _ isProtected: Bool) {
    var request = uffdio_writeprotect()
    request.range = uffdio_range(start: UInt64(range.lowerBound), len: UInt64(range.count))
    request.mode = isProtected ? 1 : 0
    #expect(UserfaultCall.exchange(rawDescriptor, GODWIT_UFFDIO_WRITEPROTECT, &request) >= 0)
  }
}

private let canFault = (try? Userfault.offeredFeatures()) != nil
private let canTrack =
  (try? Userfault(features: .asynchronousTracking)) != nil && (try? WrittenPages()) != nil

@Suite(.serialized) struct UserfaultTests {
  /// Touches a page on another thread and answers the fault on this one.
  private func whileTouching(
    _ pages: SomePages, page: Int, _ answer: () throws -> Void
  ) throws -> UInt8 {
    let value = Atomic<UInt8>(0)
    let thread = try NamedThread(name: "toucher") {
      value.store(pages.load(page: page), ordering: .releasing)
    }
    try answer()
    thread.join()
    return value.load(ordering: .acquiring)
  }

  @Test(.enabled(if: canFault, "needs a userfaultfd"), .timeLimit(.minutes(1)))
  func `a missing page is placed and wakes who waits`() throws {
    let pages = SomePages(count: 4)
    let userfault = try Userfault(features: [.exactAddress])
    try userfault.register(pages.range, modes: .missing)
    let content = [UInt8](repeating: 0x5a, count: SomePages.pageSize)
    let value = try whileTouching(pages, page: 2) {
      #expect(try userfault.wait(milliseconds: 10_000))
      let events = try userfault.readEvents()
      #expect(
        events == [
          .pageFault(address: pages.page(2).lowerBound, kind: .missing, isWrite: false, thread: 0)
        ])
      let placed = try userfault.copy(to: pages.page(2).lowerBound, from: content.span.bytes)
      #expect(placed == SomePages.pageSize)
    }
    #expect(value == 0x5a)
    #expect(try userfault.readEvents().isEmpty)
  }

  @Test(.enabled(if: canFault, "needs a userfaultfd"), .timeLimit(.minutes(1)))
  func `a page that is there already is not placed again`() throws {
    let pages = SomePages(count: 3)
    let userfault = try Userfault(features: [])
    try userfault.register(pages.range, modes: .missing)
    #expect(try userfault.zero(pages.page(1)) == SomePages.pageSize)
    #expect(pages.load(page: 1) == 0)
    // The first page is placed, the second is in the way.
    #expect(try userfault.zero(pages.page(0, count: 3)) == SomePages.pageSize)
    try userfault.unregister(pages.range)
    #expect(pages.load(page: 2) == 0, "no fault any more")
  }

  @Test(.enabled(if: canFault, "needs a userfaultfd"), .timeLimit(.minutes(1)))
  func `who touches a page while reporting ends is not left waiting`() throws {
    let pages = SomePages(count: 16, isShared: true)
    let userfault = try Userfault(features: [.missingShmem])
    let touches = Atomic<Int>(0)
    let isOver = Atomic<Bool>(false)
    let thread = try NamedThread(name: "toucher") {
      while !isOver.load(ordering: .acquiring) {
        let count = touches.add(1, ordering: .relaxed).newValue
        _ = pages.load(page: count % 16)
      }
    }
    for round in 0..<20_000 {
      try userfault.register(pages.range, modes: .missing)
      // The next touch of each is a fault: some are on their way when reporting ends.
      #expect(madvise(pages.memory, pages.byteCount, MADV_REMOVE) == 0)
      try userfault.unregister(pages.range)
      let before = touches.load(ordering: .relaxed)
      let end = ContinuousClock.now + .seconds(10)
      while touches.load(ordering: .relaxed) < before + 2, ContinuousClock.now < end { usleep(20) }
      try #require(touches.load(ordering: .relaxed) >= before + 2, "round \(round)")
    }
    isOver.store(true, ordering: .releasing)
    thread.join()
  }

  @Test(.enabled(if: canFault, "needs a userfaultfd"), .timeLimit(.minutes(1)))
  func `a write to a protected page waits until the protection is lifted`() throws {
    let pages = SomePages(count: 2)
    pages.store(1, page: 0)
    let userfault = try Userfault(features: .writeProtect)
    try userfault.register(pages.range, modes: .writeProtect)
    userfault.setWriteProtected(pages.range, true)
    let thread = try NamedThread(name: "writer") { pages.store(7, page: 0) }
    #expect(try userfault.wait(milliseconds: 10_000))
    guard case .pageFault(let address, .writeProtect, true, _)? = try userfault.readEvents().first
    else {
      Issue.record("no write fault")
      return
    }
    #expect(address == pages.page(0).lowerBound)
    #expect(pages.load(page: 0) == 1)
    userfault.setWriteProtected(pages.range, false)
    thread.join()
    #expect(pages.load(page: 0) == 7)
  }

  @Test(.enabled(if: canTrack, "needs Linux 6.7: asynchronous write protection, PAGEMAP_SCAN"))
  func `written pages are told once, unpopulated ones too`() throws {
    for isShared in [false, true] {
      let pages = SomePages(count: 64, isShared: isShared)
      for page in 0..<8 { pages.store(1, page: page) }
      let userfault = try Userfault(features: .asynchronousTracking)
      let written = try WrittenPages()
      try userfault.register(pages.range, modes: .writeProtect)
      try written.protect(pages.range) { _ in }
      func taken() throws -> [Int] {
        var found: [Int] = []
        try written.take(pages.range) { run in
          let first = Int(run.lowerBound - pages.range.lowerBound) / SomePages.pageSize
          found += first..<first + run.count / SomePages.pageSize
        }
        return found
      }
      #expect(try taken().isEmpty)
      for page in [1, 2, 3, 7, 40, 63] { pages.store(9, page: page) }
      _ = pages.load(page: 50)
      #expect(try taken() == [1, 2, 3, 7, 40, 63])
      #expect(try taken().isEmpty)
      pages.store(9, page: 2)
      #expect(try taken() == [2], "the same content is a write too")
      withExtendedLifetime(userfault) {}
    }
  }

  @Test(.enabled(if: canTrack, "needs Linux 6.7"))
  func `what is not registered is refused, and what was tried is said`() throws {
    let pages = SomePages(count: 2)
    let written = try WrittenPages()
    let place = "8192 bytes at 0x" + String(pages.range.lowerBound, radix: 16)
    for (action, call) in [
      ("Looking for written pages in", written.take), ("Protecting", written.protect),
    ] {
      let error = #expect(throws: UserfaultError.self) { try call(pages.range) { _ in } }
      #expect(error?.description.contains("\(action) \(place) (PAGEMAP_SCAN)") == true, "\(error)")
    }
  }

  @Test func `errors say what is missing`() {
    let unsupported = UserfaultError.unsupported(feature: "UFFD_FEATURE_WP_ASYNC")
    #expect(unsupported.description.contains("UFFD_FEATURE_WP_ASYNC"))
    #expect(UserfaultFeatures.asynchronousTracking.names.count == 4)
    #expect(UserfaultError.notAllowed(code: EPERM).description.contains("unprivileged"))
    #expect(throws: UserfaultError.self) {
      _ = try Userfault(features: UserfaultFeatures(rawValue: 1 << 60))
    }
  }
}
