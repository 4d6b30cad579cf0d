// StreamDecoder+States.swift: where a decoder is in its stream, and what it keeps for that.

extension StreamDecoder {
  /// What the next byte belongs to.
  enum State: Sendable {
    case header
    case afterHeader
    case configurationPart
    case element
    case ramSetup
    case ramBlock
    case ramBlockPageSize
    case ramItems
    case dirtyBitmap
    case opaqueSection
    case footer
    case packagedBlob
    case deviceTail
    case finished
  }

  /// A section that was started and may go on.
  struct OpenSection: Sendable {
    enum Kind: Sendable {
      case ram
      case dirtyBitmap
      case opaque
    }
    var kind: Kind
    var hasEnded = false
  }

  /// What reading the RAM section depends on.
  struct RAMPayload: Sendable {
    /// The size of a target page in bytes.
    var pageSize: Int
    /// The announced blocks.
    var blocks: [RAMBlockDescription] = []
    /// Each block's place in `blocks`.
    var indexByName: [String: Int] = [:]
    /// The block that the last record named, or -1, and its length.
    var namedBlock = -1
    var namedLength: UInt64 = 0
    /// The bytes that the blocks are to add up to, and do so far.
    var announcedTotal: UInt64 = 0
    var total: UInt64 = 0
    /// Whether a block may carry its page size, by the advice.
    var mayCarryPageSizes = false
    /// Whether every block carries its guest address.
    var carriesAddresses = false

    init(pageSize: Int) { self.pageSize = pageSize }

    /// The bits of a record's first word that hold flags.
    var flagMask: UInt64 { UInt64(pageSize - 1) }

    mutating func indexBlocks() {
      indexByName = [:]
      for (index, block) in blocks.enumerated() { indexByName[block.name] = index }
    }
  }

  /// What the decoder is reading, in words.
  var reading: String {
    switch state {
    case .header: "the stream's header"
    case .afterHeader: "what follows the stream's header"
    case .configurationPart: "the configuration section"
    case .element: "the beginning of a section"
    case .ramSetup, .ramBlock, .ramBlockPageSize: "the list of RAM blocks"
    case .ramItems: "the records of RAM section \(currentID)"
    case .dirtyBitmap: "the records of dirty-bitmap section \(currentID)"
    case .opaqueSection: "section \(currentID), whose layout is not known"
    case .footer: "the footer of section \(currentID)"
    case .packagedBlob: "a packaged blob"
    case .deviceTail: "the device state"
    case .finished: "the end of the stream"
    }
  }

  /// An error in the item that began at the current offset, `ahead` bytes on.
  func invalid(
    _ kind: WireError.Kind, ahead: Int = 0, reading what: String? = nil, expected: String,
    found: String, remedy: String? = nil
  ) -> Interruption {
    .invalid(
      WireError(
        kind, at: offset + UInt64(ahead), reading: what ?? reading, expected: expected,
        found: found, remedy: remedy))
  }

  /// The error of a stream that stops too early.
  func truncation(found: String) -> WireError {
    WireError(
      .truncated, at: offset, reading: reading, expected: "the rest of it", found: found)
  }

  /// Tells the visitor of an event.
  func tell<V: StreamVisitor>(
    _ event: StreamEvent, _ visitor: inout V
  ) throws(Interruption) {
    do {
      try visitor.visit(event)
    } catch {
      throw .visitor(error)
    }
  }
}

/// A number in base 16, as errors name flags and identifiers.
func hex<T: BinaryInteger>(_ value: T) -> String { "0x" + String(value, radix: 16) }
