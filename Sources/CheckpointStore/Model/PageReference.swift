// How a manifest, a slot and a session name a page: one 64-bit word.

/// The size of a page in the store, whatever the guest's page size.
public let storePageSize = 4096

/// A page of the store: its number in the page table and 24 bits of its hash, so that a reference
/// to a table entry that has since become another page's is noticed.
public struct PageReference: Hashable, Sendable {
  /// Bits 63…24: the entry's number (0 for the zero page); bits 23…0: the hash's last 24 bits.
  public let rawValue: UInt64

  /// The page that is all zero, which has no entry.
  public static let zero = PageReference(rawValue: 0)

  init(rawValue: UInt64) { self.rawValue = rawValue }
}

/// What a checkpoint holds at a page.
public enum PageKind: Hashable, Sendable {
  /// Nothing but zeros; no storage behind it.
  case zero
  /// A stored page.
  case stored(PageReference)
}
