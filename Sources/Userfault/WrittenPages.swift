// Which pages were written, from the page table itself (PAGEMAP_SCAN, Linux 6.7).

import CLinux
import Glibc
import Transport

/// The scan for pages that were written since they were protected.
///
/// Any thread may use it, one at a time for each object.
public final class WrittenPages: Sendable {
  private let descriptor: OwnedDescriptor
  /// Ranges that one request reports at most: 24 bytes each.
  private static let regionLimit = 4096
  /// PAGE_IS_WRITTEN.
  private static let written: UInt64 = 1 << 1
  /// PAGE_IS_PRESENT.
  private static let present: UInt64 = 1 << 3
  /// That, or PAGE_IS_SWAPPED.
  private static let held: UInt64 = present | 1 << 4
  /// PM_SCAN_WP_MATCHING and PM_SCAN_CHECK_WPASYNC.
  private static let protect: UInt64 = 1 << 0
  private static let check: UInt64 = 1 << 1

  /// Opens this process's page table.
  /// - Throws: ``UserfaultError/unsupported(feature:)`` where the kernel has no such scan.
  public init() throws(UserfaultError) {
    let number = UserfaultCall.openPagemap()
    guard number >= 0 else {
      throw .failed(action: "Opening /proc/self/pagemap", code: -number)
    }
    descriptor = OwnedDescriptor(adopting: number)
    // An empty range asks whether the request is known.
    var probe = godwit_pm_scan()
    probe.size = UInt64(MemoryLayout<godwit_pm_scan>.stride)
    probe.category_mask = Self.written
    probe.return_mask = Self.written
    var regions = [godwit_page_region](repeating: godwit_page_region(), count: 1)
    let result = UserfaultCall.scan(descriptor.raw, &probe, into: &regions)
    guard result >= 0 else { throw .unsupported(feature: "PAGEMAP_SCAN") }
  }

  /// Hands over the runs of pages that were written, protecting them again in the same step.
  ///
  /// A write is either before its page's step, and reported now, or behind it, and reported next
  /// time. The range must be registered for write protection with
  /// ``UserfaultFeatures/asynchronousTracking``.
  /// - Parameters:
  ///   - range: addresses of this process, whole pages.
  ///   - body: gets runs in ascending order.
  public func take(
    _ range: Range<UInt>, _ body: (Range<UInt>) -> Void
  ) throws(UserfaultError) {
    try scan(
      range, Self.protect | Self.check, reporting: Self.written, of: Self.written,
      for: "Looking for written pages in"
    ) { run, _ in body(run) }
  }

  /// Protects all pages of a range, and hands over the runs of those that held nothing.
  ///
  /// A page that is handed over held nothing when it was protected: it is zeros unless a later
  /// ``take(_:_:)`` reports it. Of shared memory, only pages that this process has not mapped are
  /// found so, and they may have content all the same. Otherwise as ``take(_:_:)``.
  public func protect(
    _ range: Range<UInt>, _ body: (Range<UInt>) -> Void
  ) throws(UserfaultError) {
    var empty: [Range<UInt>] = []
    try scan(
      range, Self.protect | Self.check, reporting: Self.held, of: 0, for: "Protecting"
    ) { run, categories in
      if categories & Self.held == 0 { empty.append(run) }
    }
    // Where there was no page table yet, the kernel tells first and protects then. What was written
    // in between was not noticed, and is there now.
    var found: [Range<UInt>] = []
    try scan(
      range, 0, reporting: Self.present, of: Self.present, for: "Looking for pages that are in"
    ) { run, _ in found.append(run) }
    var next = found.startIndex
    for run in empty {
      var start = run.lowerBound
      while next < found.endIndex, found[next].upperBound <= start { next += 1 }
      var index = next
      while index < found.endIndex, found[index].lowerBound < run.upperBound {
        if start < found[index].lowerBound { body(start..<found[index].lowerBound) }
        start = max(start, found[index].upperBound)
        index += 1
      }
      if start < run.upperBound { body(start..<run.upperBound) }
    }
  }

  /// Hands over the runs of pages that have all categories of `mask`, each with those of the
  /// categories of `reporting` that it has; what else is done to them is said by `flags`, and what
  /// it is for, in an error, by `purpose`.
  private func scan(
    _ range: Range<UInt>, _ flags: UInt64, reporting: UInt64, of mask: UInt64,
    for purpose: String, _ body: (Range<UInt>, UInt64) -> Void
  ) throws(UserfaultError) {
    var regions = [godwit_page_region](repeating: godwit_page_region(), count: Self.regionLimit)
    var start = UInt64(range.lowerBound)
    while start < UInt64(range.upperBound) {
      var request = godwit_pm_scan()
      request.size = UInt64(MemoryLayout<godwit_pm_scan>.stride)
      request.flags = flags
      request.start = start
      request.end = UInt64(range.upperBound)
      request.category_mask = mask
      request.return_mask = reporting
      let count = UserfaultCall.scan(descriptor.raw, &request, into: &regions)
      guard count >= 0 else {
        throw .failed(action: Self.sentence(purpose, range), code: Int32(-count))
      }
      for region in regions.prefix(count) {
        body(UInt(region.start)..<UInt(region.end), region.categories)
      }
      // The kernel stops early when the buffer is full; one that does not move is broken.
      guard request.walk_end > start else {
        throw .failed(action: Self.sentence(purpose, range), code: EIO)
      }
      start = request.walk_end
    }
  }

  private static func sentence(_ purpose: String, _ range: Range<UInt>) -> String {
    "\(purpose) \(range.count) bytes at 0x\(String(range.lowerBound, radix: 16)) (PAGEMAP_SCAN)"
  }
}
