// The source of a plain move of a stopped machine: all of its memory, then its devices.
//
//   opening ─▶ sending pages ─▶ closing ─▶ (awaiting SHUT ─▶) finished

public import Wire

/// Decides what the source of a stopped machine sends, from the header to the description.
public struct PrecopySource: Sendable {
  /// What the source is doing.
  public enum Phase: Sendable, Equatable {
    /// Nothing was written.
    case opening
    /// Memory goes out, block after block; this is what comes next.
    case sendingPages(blockIndex: Int, offset: UInt64)
    /// The device state and the end are being written.
    case closing
    /// The destination is to confirm.
    case awaitingConfirmation
    /// Over.
    case finished(SourceOutcome)
  }

  /// What the source is doing now.
  public private(set) var phase: Phase = .opening

  private let blocks: [RAMBlockDescription]
  private let omittedBlocks: Set<Int>
  private let usesReturnPath: Bool
  private let rangeByteCount: UInt64

  /// A source that has sent nothing.
  ///
  /// With `usesReturnPath`, the destination confirms by SHUT(0) that it loaded the machine;
  /// without, the source is done once everything is written. Pages are handed out in ranges of at
  /// most `rangeByteCount` bytes, a multiple of the target page size.
  public init(
    blocks: [RAMBlockDescription], omittedBlocks: Set<Int> = [], usesReturnPath: Bool = false,
    rangeByteCount: Int = 512 << 10
  ) {
    precondition(rangeByteCount > 0, "a range has pages")
    self.blocks = blocks
    self.omittedBlocks = omittedBlocks
    self.usesReturnPath = usesReturnPath
    self.rangeByteCount = UInt64(rangeByteCount)
  }

  /// Whether the destination can have begun to run: it has all it needs.
  public var destinationRunState: DestinationRunState {
    switch phase {
    case .opening, .sendingPages: .notStarted
    case .closing, .awaitingConfirmation: .unknown
    case .finished(.completed): usesReturnPath ? .running : .unknown
    case .finished: .notStarted
    }
  }

  /// What to do next; what was told before has been carried out.
  public mutating func next() -> SourceInstruction {
    switch phase {
    case .opening:
      phase = .sendingPages(blockIndex: 0, offset: 0)
      return .write(
        [.header, .configuration] + (usesReturnPath ? [.openReturnPath, .ping(1)] : [])
          + [.ramSetup])
    case .sendingPages(let blockIndex, let offset):
      return nextRange(blockIndex: blockIndex, offset: offset)
    case .closing:
      phase = usesReturnPath ? .awaitingConfirmation : .finished(.completed)
      return usesReturnPath ? .wait : .finish
    case .awaitingConfirmation:
      return .wait
    case .finished:
      return .finish
    }
  }

  private mutating func nextRange(blockIndex: Int, offset: UInt64) -> SourceInstruction {
    var (blockIndex, offset) = (blockIndex, offset)
    while blockIndex < blocks.count {
      let end = blocks[blockIndex].usedLength
      if offset < end, !omittedBlocks.contains(blockIndex) {
        let upper = end - offset > rangeByteCount ? offset + rangeByteCount : end
        phase = .sendingPages(blockIndex: blockIndex, offset: upper)
        return .range(blockIndex: blockIndex, offset..<upper)
      }
      blockIndex += 1
      offset = 0
    }
    phase = .closing
    return .write([.ramEnd, .deviceState, .endOfStream, .description])
  }

  /// Takes a message of the return path.
  public mutating func receive(_ message: ReturnPathMessage) throws(ProtocolViolation) {
    switch message {
    case .pong, .switchoverAcknowledge:
      break
    case .shut(let status):
      guard status == 0 else {
        phase = .finished(.destinationFailed(code: status))
        return
      }
      guard phase == .awaitingConfirmation || phase == .closing else {
        throw ProtocolViolation(
          during: activity, expected: "no SHUT before the end of the stream",
          found: "SHUT with 0 (success)")
      }
      phase = .finished(.completed)
    case .knownPages, .knownPagesEnd, .missedPages:
      throw ProtocolViolation(
        during: activity, expected: "PONG or SHUT",
        found: "a message about pages that are known, which nobody asked for")
    case .requestPages, .receivedBitmap, .resumeAcknowledge:
      throw ProtocolViolation(
        during: activity, expected: "PONG or SHUT", found: "a message of postcopy: \(message)")
    }
  }

  /// What is being done, for an error's sentence.
  public var activity: String {
    switch phase {
    case .opening: "opening the stream to the destination"
    case .sendingPages: "sending memory to the destination"
    case .closing: "sending the device state"
    case .awaitingConfirmation: "waiting for the destination's confirmation"
    case .finished: "closing the link"
    }
  }
}
