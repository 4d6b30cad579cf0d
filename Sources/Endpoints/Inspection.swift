// What is in a stream file or a checkpoint, for a person who wants to know.

internal import CheckpointStore
public import Wire

/// The content of a stream or of a checkpoint, apart from the pages' bytes.
public struct Inspection: Sendable {
  /// What was inspected.
  public enum Origin: Sendable, Equatable {
    /// A file that holds a migration stream, and how long it is in bytes.
    case stream(path: String, byteCount: UInt64)
    /// A checkpoint of a store.
    case checkpoint(name: String)
  }

  /// What was inspected.
  public let origin: Origin
  /// The machine that sent the stream.
  public let configuration: StreamConfiguration
  /// The guest's page size in bytes.
  public let targetPageSize: Int
  /// The RAM blocks, in the stream's order.
  public let blocks: [InspectedBlock]
  /// What the stream is made of, in the order in which it began; empty for a checkpoint.
  public let parts: [InspectedPart]
  /// The devices' sections, in the stream's order.
  public let devices: [DeviceSection]
  /// What the figures do not show, as sentences.
  public let notes: [String]

  let pages: InspectedPages

  /// The devices that a person may mean by a name: those called so, or, where there are none,
  /// those whose names end so after a slash.
  public func devices(called name: String) -> [DeviceSection] {
    let exact = devices.filter { $0.header.name == name }
    return exact.isEmpty ? devices.filter { $0.header.name.hasSuffix("/" + name) } : exact
  }

  /// Calls `body` for every run of pages of one kind, block by block.
  /// - Throws: what `body` throws, or the store's error.
  public func forEachRun(_ body: (InspectedRun) throws -> Void) throws {
    for (index, block) in blocks.enumerated() {
      var runs = RunCollector(block: block.name)
      switch pages {
      case .stream(let table):
        for offset in table.dataPages(ofBlock: index) {
          try runs.add(from: offset, byteCount: UInt64(targetPageSize), body)
        }
      case .checkpoint(let checkpoint):
        for offset in stride(from: 0, to: block.byteCount, by: storePageSize) {
          guard case .stored = try checkpoint.pageKind(block: index, offset: offset) else {
            continue
          }
          try runs.add(from: offset, byteCount: UInt64(storePageSize), body)
        }
      }
      try runs.finish(at: block.byteCount, body)
    }
  }
}

/// A RAM block, and what its pages are.
public struct InspectedBlock: Sendable, Equatable {
  /// The block's name.
  public let name: String
  /// Its length in bytes.
  public let byteCount: UInt64
  /// How many of its pages are what; nil where they were too many to be counted.
  public let pages: InspectedPageCounts?
}

/// How many of a block's pages are what; together they are all of its pages.
public struct InspectedPageCounts: Sendable, Equatable {
  /// Pages that are all zero, or were never sent.
  public var zero: UInt64
  /// In a stream, pages with content that no page before them has; in a checkpoint, stored pages
  /// whose content no other checkpoint has.
  public var unique: UInt64
  /// In a stream, pages with the content of a page before them; in a checkpoint, stored pages
  /// whose content another checkpoint has too.
  public var shared: UInt64
}

/// A part of a stream: the header, a section that comes in parts, the device state and so on.
public struct InspectedPart: Sendable, Equatable {
  /// What it is, such as `ram` or `commands`.
  public let name: String
  /// How often it occurs.
  public let count: Int
  /// How many bytes it takes in the stream.
  public let byteCount: UInt64
}

/// Neighbouring pages of one kind.
public struct InspectedRun: Sendable, Equatable {
  /// What the pages hold.
  public enum Kind: String, Sendable {
    /// Nothing but zeros, or never sent.
    case zero
    /// Anything else.
    case data
  }

  /// The block's name.
  public let block: String
  /// The first page's first byte within the block.
  public let offset: UInt64
  /// The run's length in bytes.
  public let byteCount: UInt64
  /// What the pages hold.
  public let kind: Kind
}

/// Where the kind of each page is known from.
enum InspectedPages: Sendable {
  case stream(InspectionPageTable)
  case checkpoint(Checkpoint)
}

/// Joins pages with content, handed over in order, to runs, and fills the gaps with zeros.
private struct RunCollector {
  let block: String
  private var dataStart: UInt64 = 0
  private var end: UInt64 = 0

  init(block: String) { self.block = block }

  mutating func add(
    from offset: UInt64, byteCount: UInt64, _ body: (InspectedRun) throws -> Void
  ) rethrows {
    if offset > end {
      try flush(body)
      try body(InspectedRun(block: block, offset: end, byteCount: offset - end, kind: .zero))
      dataStart = offset
    }
    end = offset + byteCount
  }

  mutating func finish(at blockEnd: UInt64, _ body: (InspectedRun) throws -> Void) rethrows {
    try flush(body)
    guard end < blockEnd else { return }
    try body(InspectedRun(block: block, offset: end, byteCount: blockEnd - end, kind: .zero))
  }

  private func flush(_ body: (InspectedRun) throws -> Void) rethrows {
    guard end > dataStart else { return }
    try body(
      InspectedRun(block: block, offset: dataStart, byteCount: end - dataStart, kind: .data))
  }
}
