// How a manifest, a slot and a session name a page, and where its bytes lie.

import PageHash

/// The size of a page in the store, whatever the guest's page size.
public let storePageSize = 4096

/// A page of the store: its number in the page table and 24 bits of its hash, so that a reference
/// to a table entry that has since become another page's is noticed.
public struct PageReference: Hashable, Sendable {
  /// Bits 63…24: the entry's number (0 for the zero page); bits 23…0: the hash's last 24 bits.
  public let rawValue: UInt64

  /// The page that is all zero, which has no entry.
  public static let zero = PageReference(rawValue: 0)

  /// The largest number: what is above marks a session's own words.
  static let numberLimit: UInt64 = 1 << 38

  init(rawValue: UInt64) { self.rawValue = rawValue }

  init(number: UInt64, hash: ContentHash) {
    rawValue = number << 24 | hash.fingerprint
  }

  var number: UInt64 { rawValue >> 24 }
  var fingerprint: UInt64 { rawValue & 0xFF_FFFF }
}

/// What a checkpoint holds at a page.
public enum PageKind: Hashable, Sendable {
  /// Nothing but zeros; no storage behind it.
  case zero
  /// A stored page.
  case stored(PageReference)
}

/// Where a page's bytes lie: pack number (21 bits), offset in it (30 bits), length (13 bits).
struct PageLocation: Hashable, Sendable, BitwiseCopyable {
  let rawValue: UInt64

  static let packLimit: UInt64 = 1 << 21
  static let offsetLimit: UInt64 = 1 << 30

  init(rawValue: UInt64) { self.rawValue = rawValue }

  /// - Parameter length: 4096 for a page as it is, less for a compressed one.
  init(pack: UInt32, offset: UInt64, length: Int) {
    rawValue = UInt64(pack) << 43 | offset << 13 | UInt64(length)
  }

  var pack: UInt32 { UInt32(rawValue >> 43) }
  var offset: UInt64 { rawValue >> 13 & (PageLocation.offsetLimit - 1) }
  var length: Int { Int(rawValue & 0x1FFF) }
  var end: UInt64 { offset + UInt64(length) }
}

/// A page table's entry: 40 bytes, all zero where free.
struct PageEntry: Hashable, Sendable, BitwiseCopyable {
  static let byteCount = 40
  static let free = PageEntry(hash: .none, location: PageLocation(rawValue: 0))

  var hash: ContentHash
  var location: PageLocation

  var isFree: Bool { self == .free }

  init(hash: ContentHash, location: PageLocation) {
    self.hash = hash
    self.location = location
  }
}
