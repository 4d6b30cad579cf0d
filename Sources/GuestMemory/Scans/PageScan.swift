// What is in pages, found at the speed of memory.

internal import CDirtyBitmap
internal import Glibc

/// Scans of pages.
public enum PageScan {
  /// Whether all bytes are zero.
  public static func isZero(_ bytes: RawSpan) -> Bool {
    // SAFETY: the pointer is used during the call only.
    unsafe bytes.withUnsafeBytes { unsafe godwit_bytes_are_zero($0.baseAddress, $0.count) }
  }

  /// Whether two runs of bytes of the same length are equal.
  public static func areEqual(_ left: RawSpan, _ right: RawSpan) -> Bool {
    precondition(left.byteCount == right.byteCount, "runs of the same length")
    guard !left.isEmpty else { return true }
    // SAFETY: both pointers are valid for that many bytes during the call.
    return unsafe left.withUnsafeBytes { first in
      unsafe right.withUnsafeBytes { second in
        guard let start = first.baseAddress, let other = second.baseAddress else { return true }
        return unsafe memcmp(start, other, first.count) == 0
      }
    }
  }

  /// The numbers of the pages that are not zero, in order.
  /// - Parameters:
  ///   - bytes: whole pages.
  ///   - pageSize: bytes in a page.
  public static func nonzeroPages(in bytes: RawSpan, pageSize: Int = RAMRange.pageSize) -> [Int] {
    pages(of: bytes, pageSize) { !isZero(bytes.extracting($0)) }
  }

  /// The numbers of the pages in which two runs of pages of the same length differ, in order.
  public static func differingPages(
    _ left: RawSpan, _ right: RawSpan, pageSize: Int = RAMRange.pageSize
  ) -> [Int] {
    precondition(left.byteCount == right.byteCount, "runs of the same length")
    return pages(of: left, pageSize) {
      !areEqual(left.extracting($0), right.extracting($0))
    }
  }

  private static func pages(
    of bytes: RawSpan, _ pageSize: Int, where isWanted: (Range<Int>) -> Bool
  ) -> [Int] {
    precondition(pageSize > 0 && bytes.byteCount % pageSize == 0, "whole pages")
    return (0..<bytes.byteCount / pageSize).filter { page in
      isWanted(page * pageSize..<(page + 1) * pageSize)
    }
  }
}
