// Pages that follow each other, gathered to be written, or let in to, at once.

/// Neighbouring pages of one block on their way into memory.
///
/// Memory that nobody has touched costs a fault for each page, and a clearing that the page's
/// content then overwrites. Written as a file, in long runs, it costs neither.
struct PageRun {
  /// No run is longer.
  static let byteLimit = 512 << 10

  /// Where the run lies, in its block's numbering.
  private(set) var block = 0
  private(set) var start = 0
  private(set) var bytes: [UInt8] = []

  var isEmpty: Bool { bytes.isEmpty }
  private var end: Int { start + bytes.count }

  /// Whether a page can be added: it follows, and there is room.
  func takes(_ offset: Int, ofBlock index: Int, byteCount: Int) -> Bool {
    isEmpty || index == block && offset == end && bytes.count + byteCount <= Self.byteLimit
  }

  /// Whether the place is one of the run's.
  func holds(_ offset: Int, ofBlock index: Int) -> Bool {
    index == block && offset >= start && offset < end
  }

  /// Adds a page that the run takes.
  mutating func append(_ content: RawSpan, at offset: Int, ofBlock index: Int) {
    if isEmpty {
      bytes.reserveCapacity(Self.byteLimit)
      block = index
      start = offset
    }
    bytes.append(content)
  }

  mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }
}

/// Neighbouring pages of one block that have arrived and that nobody waits for.
struct ArrivedRun {
  /// A run that is complete.
  struct Ready: Equatable {
    var block: Int
    var offsets: Range<Int>
  }

  /// No run is longer.
  static let byteLimit = 128 << 10

  private var run = Ready(block: 0, offsets: 0..<0)

  /// Adds a page; a run that is complete with it, or that it does not continue.
  mutating func add(_ offset: Int, size: Int, ofBlock block: Int) -> Ready? {
    guard block == run.block, offset == run.offsets.upperBound, !run.offsets.isEmpty else {
      defer { run = Ready(block: block, offsets: offset..<offset + size) }
      return run.offsets.isEmpty ? nil : run
    }
    run.offsets = run.offsets.lowerBound..<offset + size
    guard run.offsets.count >= Self.byteLimit else { return nil }
    defer { run.offsets = 0..<0 }
    return run
  }
}
