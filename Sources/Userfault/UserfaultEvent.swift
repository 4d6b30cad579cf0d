// What a userfaultfd reports.

/// An event that was read from a userfaultfd.
public enum UserfaultEvent: Equatable, Sendable {
  /// A thread waits for a page.
  ///
  /// The address is that of the page, or of the byte with ``UserfaultFeatures/exactAddress``; the
  /// thread is 0 without ``UserfaultFeatures/threadID``.
  case pageFault(address: UInt, kind: FaultKind, isWrite: Bool, thread: UInt32)
  /// The process forked; the child's userfaultfd was closed.
  case fork
  /// A range moved.
  case remap(from: UInt, to: UInt, byteCount: UInt)
  /// Memory of a range was given back.
  case remove(Range<UInt>)
  /// A range was unmapped.
  case unmap(Range<UInt>)
  /// An event that Godwit does not know.
  case other(UInt8)

  /// Why a thread waits.
  public enum FaultKind: Sendable {
    /// The page is not there.
    case missing
    /// The page is there but not mapped.
    case minor
    /// The page is protected from writes.
    case writeProtect
  }
}
