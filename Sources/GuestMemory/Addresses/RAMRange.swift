// Runs of pages in the RAM list's address space.

/// A run of whole pages in the RAM list's address space.
public struct RAMRange: Hashable, Sendable {
  /// The unit of dirty bitmaps in bytes, whatever pages the guest or the host uses.
  public static let pageSize = 4096

  /// The pages, numbered from the beginning of the RAM list's address space.
  public let pages: Range<Int>

  /// The pages with these numbers.
  @inlinable
  public init(pages: Range<Int>) {
    precondition(pages.lowerBound >= 0, "pages are counted from 0")
    self.pages = pages
  }

  /// The pages that hold any of `byteCount` bytes from `start` on.
  @inlinable
  public init(covering start: RAMAddress, byteCount: Int) {
    precondition(byteCount >= 0, "a range cannot have fewer than no bytes")
    let end = start.rawValue + UInt64(byteCount) + UInt64(Self.pageSize - 1)
    let first = start.pageIndex
    self.init(pages: first..<(byteCount == 0 ? first : Int(end / UInt64(Self.pageSize))))
  }

  /// Where the first page begins.
  @inlinable
  public var start: RAMAddress { RAMAddress(UInt64(pages.lowerBound) * UInt64(Self.pageSize)) }

  /// How many pages there are.
  @inlinable
  public var pageCount: Int { pages.count }

  /// How many bytes the pages have.
  @inlinable
  public var byteCount: Int { pages.count * Self.pageSize }
}

extension RAMRange: CustomStringConvertible {
  /// The place and size in hexadecimal bytes.
  public var description: String { "\(start) (0x\(String(byteCount, radix: 16)) bytes)" }
}
