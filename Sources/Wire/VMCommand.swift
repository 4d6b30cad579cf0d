// VMCommand.swift: the commands that a source sends between sections.

/// A command of the main channel.
public enum VMCommand: Equatable, Hashable, Sendable {
  /// The destination opens the reverse direction of the same connection.
  case openReturnPath
  /// The destination answers with a PONG of the same value.
  case ping(UInt32)
  /// Postcopy may follow. `nil` is the empty form, sent when only dirty bitmaps may be postponed.
  case postcopyAdvise(PostcopyAdvice?)
  /// The destination begins to listen for pages while it runs.
  case postcopyListen
  /// The destination's guest starts.
  case postcopyRun
  /// The pages in `ranges` of the block named `block` are not validly received.
  case ramDiscard(block: String, ranges: [RAMDiscardRange])
  /// A blob of further commands and device sections, read whole before it is interpreted.
  case packaged([UInt8])
  /// The stream is the first of a COLO session. The payload is empty in every known sender.
  case enableCOLO([UInt8])
  /// A recovered postcopy goes on.
  case postcopyResume
  /// The destination sends the bitmap of the pages of `block` that it has.
  case receiveBitmap(block: String)
  /// The source is about to switch over (QEMU 10.0 and later).
  case switchoverStart
  /// The destination is to announce what it holds, of at most `limit` pages (Godwit's own).
  case askKnownPages(limit: UInt64)
}

/// What a source announces before a postcopy may begin.
public struct PostcopyAdvice: Equatable, Hashable, Sendable {
  /// The bitwise OR of the page sizes, in bytes, of all RAM blocks.
  public var pageSizeSummary: UInt64
  /// The size of a target page in bytes.
  public var targetPageSize: UInt64

  /// Announces the page sizes.
  public init(pageSizeSummary: UInt64, targetPageSize: UInt64) {
    self.pageSizeSummary = pageSizeSummary
    self.targetPageSize = targetPageSize
  }
}

/// A run of bytes within a RAM block that the destination is to forget.
public struct RAMDiscardRange: Equatable, Hashable, Sendable {
  /// The first byte within the block.
  public var start: UInt64
  /// How many bytes.
  public var length: UInt64

  /// The `length` bytes from `start`.
  public init(start: UInt64, length: UInt64) {
    self.start = start
    self.length = length
  }
}

extension VMCommand {
  /// The numbers of the commands on the wire.
  enum Code: UInt16 {
    case openReturnPath = 1
    case ping = 2
    case postcopyAdvise = 3
    case postcopyListen = 4
    case postcopyRun = 5
    case ramDiscard = 6
    case packaged = 7
    case enableCOLO = 8
    case postcopyResume = 9
    case receiveBitmap = 10
    case switchoverStart = 11
    /// "GW": far from what QEMU counts up to.
    case askKnownPages = 0x4757

    /// Whether it is Godwit's own, and no other reader knows it.
    var isExtension: Bool { self == .askKnownPages }
  }
}
