// ReturnPathDecoder.swift: takes the bytes of a return path as they come.

/// Reads what a destination tells its source.
///
/// Bytes may be split anywhere; the messages are the same. A bitmap of received pages has no
/// frame of its own, so the decoder has to know how many pages each block has.
public struct ReturnPathDecoder: Sendable {
  /// How many bytes have been taken.
  public private(set) var offset: UInt64 = 0
  /// The number of target pages of each RAM block.
  public var pageCounts: [String: Int]

  private let takesKnownPages: Bool
  private let limits: WireLimits
  private var carry: [UInt8] = []
  private var carryNeeded = 0
  /// The block whose bitmap is being read: its size on the wire is known, its bytes are not.
  private var bitmapBlock: String?
  private var failure: (any Error)?

  /// A decoder at the beginning of a return path.
  ///
  /// With `takesKnownPages`, which both ends have to have agreed on, Godwit's own messages about
  /// pages that the destination holds are read too; they are refused otherwise.
  public init(
    pageCounts: [String: Int] = [:], takesKnownPages: Bool = false,
    limits: WireLimits = WireLimits()
  ) {
    self.pageCounts = pageCounts
    self.takesKnownPages = takesKnownPages
    self.limits = limits
  }

  /// Whether the bytes so far end with a whole message.
  public var isBetweenMessages: Bool { carry.isEmpty && bitmapBlock == nil }

  /// Takes the next bytes and gives `body` each message they complete, in order.
  /// - Throws: `WireError`, or what `body` threw. The decoder then refuses all further input
  ///   with the same error.
  public mutating func feed(
    _ bytes: RawSpan, _ body: (ReturnPathMessage) throws -> Void
  ) throws {
    if let failure { throw failure }
    do {
      try take(bytes, body)
    } catch {
      failure = error
      throw error
    }
  }

  private mutating func take(
    _ bytes: RawSpan, _ body: (ReturnPathMessage) throws -> Void
  ) throws {
    var position = 0
    while true {
      if carryNeeded == 0 { carryNeeded = bitmapBlock == nil ? 4 : 8 }
      let count = min(carryNeeded - carry.count, bytes.byteCount - position)
      carry.append(span: bytes.extracting(position..<position + count))
      position += count
      if carry.count < carryNeeded { return }
      var held: [UInt8] = []
      swap(&held, &carry)
      do throws(Interruption) {
        let message = try held.withSpan { span throws(Interruption) in try item(span) }
        offset += UInt64(held.count)
        carryNeeded = 0
        if let message { try deliver(message, body) }
      } catch {
        switch error {
        case .needs(let total):
          carry = held
          carryNeeded = total
        case .invalid(let error): throw error
        case .visitor(let error): throw error
        }
      }
    }
  }

  private func deliver(
    _ message: ReturnPathMessage, _ body: (ReturnPathMessage) throws -> Void
  ) throws(Interruption) {
    do {
      try body(message)
    } catch {
      throw .visitor(error)
    }
  }

  /// Reads the item that `bytes` is; a bitmap's message comes with its second item.
  private mutating func item(_ bytes: RawSpan) throws(Interruption) -> ReturnPathMessage? {
    var reader = ItemReader(bytes, base: offset)
    if let block = bitmapBlock { return try bitmap(of: block, &reader) }
    let number = try reader.next(UInt16.self)
    let length = Int(try reader.next(UInt16.self))
    let known = ReturnPathMessage.Code(rawValue: number)
    guard let code = known, takesKnownPages || !code.isExtension else {
      throw invalid(
        "a message from 1 to 7", "message \(number)",
        remedy: known == nil ? nil : KnownPagesText.remedy)
    }
    guard code.payloadLengths.contains(length), code.isWhole(length) else {
      throw invalid("message \(code) in its size", "\(length) bytes")
    }
    let range = try reader.nextRange(length)
    var payload = ItemReader(bytes.extracting(range), base: offset)
    var message: ReturnPathMessage?
    do throws(Interruption) {
      message = try self.message(code, &payload)
    } catch .needs {
      throw invalid("a message \(code) that fits its \(length) bytes", "a longer one")
    }
    guard payload.offset == length else {
      throw invalid("a message \(code) that fills its \(length) bytes", "a shorter one")
    }
    return message
  }

  private mutating func message(
    _ code: ReturnPathMessage.Code, _ reader: inout ItemReader
  ) throws(Interruption) -> ReturnPathMessage? {
    switch code {
    case .shut: return .shut(status: try reader.next(UInt32.self))
    case .pong: return .pong(try reader.next(UInt32.self))
    case .requestPages, .requestPagesOfBlock:
      let start = try reader.next(UInt64.self)
      let length = try reader.next(UInt32.self)
      let block =
        code == .requestPages ? nil : try reader.nextCountedText("the name of a block")
      return .requestPages(block: block, start: start, length: length)
    case .receivedBitmap:
      let block = try reader.nextCountedText("the name of a block")
      guard let pages = pageCounts[block] else {
        throw invalid("the bitmap of a block of this machine", "one of \"\(block)\"")
      }
      guard ReceivedBitmap.byteCount(forPages: pages) <= limits.receivedBitmapSize else {
        throw .invalid(
          WireError(
            .limitExceeded, at: offset, reading: "the bitmap of block \(block)",
            expected: "at most \(limits.receivedBitmapSize) bytes", found: "\(pages) pages"))
      }
      bitmapBlock = block
      return nil
    case .resumeAcknowledge: return .resumeAcknowledge(try reader.next(UInt32.self))
    case .switchoverAcknowledge: return .switchoverAcknowledge
    case .knownPages: return .knownPages(prefixes: try prefixes(&reader))
    case .knownPagesEnd: return .knownPagesEnd(count: try reader.next(UInt64.self))
    case .missedPages: return try missedPages(&reader)
    }
  }

  private func prefixes(_ reader: inout ItemReader) throws(Interruption) -> [UInt64] {
    var prefixes: [UInt64] = []
    prefixes.reserveCapacity(reader.bytes.byteCount / ReturnPathMessage.prefixByteCount)
    while reader.offset < reader.bytes.byteCount {
      let high = UInt64(try reader.next(UInt8.self))
      prefixes.append(high << 32 | UInt64(try reader.next(UInt32.self)))
    }
    return prefixes
  }

  private func missedPages(_ reader: inout ItemReader) throws(Interruption) -> ReturnPathMessage {
    let block = try reader.nextCountedText("the name of a block")
    let rest = reader.bytes.byteCount - reader.offset
    guard rest > 0, rest % 8 == 0, rest / 8 <= ReturnPathMessage.missedPageLimit else {
      throw invalid(
        "1 to \(ReturnPathMessage.missedPageLimit) offsets of pages behind the block's name",
        "\(rest) bytes")
    }
    var offsets: [UInt64] = []
    offsets.reserveCapacity(rest / 8)
    while reader.offset < reader.bytes.byteCount { offsets.append(try reader.next(UInt64.self)) }
    return .missedPages(block: block, offsets: offsets)
  }

  private mutating func bitmap(
    of block: String, _ reader: inout ItemReader
  ) throws(Interruption) -> ReturnPathMessage {
    let pages = pageCounts[block] ?? 0
    let size = try reader.next(UInt64.self)
    let expected = ReceivedBitmap.byteCount(forPages: pages)
    guard size == UInt64(expected) else {
      throw invalid("a bitmap of \(expected) bytes for block \(block)", "\(size) bytes")
    }
    let content = try reader.nextBytes(expected)
    let mark = try reader.next(UInt64.self)
    guard mark == ReturnPathMessage.bitmapEndMark,
      let bitmap = ReceivedBitmap(pageCount: pages, bytes: content)
    else {
      throw invalid(
        "the end mark \(hex(ReturnPathMessage.bitmapEndMark)) after a bitmap", hex(mark))
    }
    bitmapBlock = nil
    return .receivedBitmap(block: block, bitmap: bitmap)
  }

  private func invalid(
    _ expected: String, _ found: String, remedy: String? = nil
  ) -> Interruption {
    .invalid(
      WireError(
        .malformedReturnPath, at: offset, reading: "the return path", expected: expected,
        found: found,
        remedy: remedy
          ?? "The destination is damaged or speaks another protocol: look at its log."))
  }
}

extension ReturnPathMessage.Code {
  /// The sizes in bytes that the payload may have.
  fileprivate var payloadLengths: ClosedRange<Int> {
    switch self {
    case .shut, .pong, .resumeAcknowledge: 4...4
    case .requestPagesOfBlock: 13...268
    case .requestPages: 12...12
    case .receivedBitmap: 1...256
    case .switchoverAcknowledge: 0...0
    case .knownPages: 5...ReturnPathMessage.prefixByteCount * ReturnPathMessage.prefixLimit
    case .knownPagesEnd: 8...8
    case .missedPages: 9...256 + 8 * ReturnPathMessage.missedPageLimit
    }
  }

  /// Whether so many bytes are a whole number of what the payload is made of.
  fileprivate func isWhole(_ length: Int) -> Bool {
    self != .knownPages || length % ReturnPathMessage.prefixByteCount == 0
  }
}
