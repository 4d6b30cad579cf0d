// How much a guest writes: how it is found out, and what was found.

/// How the machine learns which pages its guest has written.
public struct DirtyTrackingFacts: Sendable, Equatable {
  /// The source in use, by the name people type: `bitmap`, `clear`, `ring`, `write-protect`.
  public var source: String
  /// Why this one, in a clause.
  public var reason: String

  /// A source.
  public init(source: String, reason: String) {
    self.source = source
    self.reason = reason
  }
}

/// What counts written pages.
public enum DirtyCounting: Sendable {
  /// The dirty log of whichever source is in use that gives bitmaps.
  case bitmap
  /// The dirty rings, which tell vCPUs apart.
  case ring
}

/// The pages that a guest wrote in a period.
public struct DirtyPageCount: Sendable, Equatable {
  /// Pages of 4 KiB that were written at least once.
  public var pageCount: UInt64
  /// The same by vCPU, in their order; nil where that is not known.
  public var pageCountsByProcessor: [UInt64]?
  /// How long was really counted.
  public var period: Duration

  /// A count.
  /// - Parameters:
  ///   - pageCount: pages that were written.
  ///   - pageCountsByProcessor: the same by vCPU.
  ///   - period: how long was counted.
  public init(pageCount: UInt64, pageCountsByProcessor: [UInt64]? = nil, period: Duration) {
    self.pageCount = pageCount
    self.pageCountsByProcessor = pageCountsByProcessor
    self.period = period
  }
}
