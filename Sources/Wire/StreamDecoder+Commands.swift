// StreamDecoder+Commands.swift: commands, and the blob that one of them brings.

extension StreamDecoder {
  mutating func command<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    var reader = ItemReader(bytes, base: offset)
    _ = try reader.next(UInt8.self)
    let parsed = try VMCommand.Parsed(&reader, takesKnownPages: options.takesKnownPages)
    switch parsed {
    case .packagedSize(let size):
      guard size <= options.limits.packageSize else {
        throw invalid(
          .limitExceeded, reading: "a packaged blob",
          expected: "at most \(options.limits.packageSize) bytes", found: "\(size)")
      }
      packageRemaining = Int(size)
      packageBlob = []
      state = .packagedBlob
      if size == 0 { try finishPackage(&visitor) }
    case .whole(let command):
      if case .postcopyAdvise(let advice?) = command { try adopt(advice) }
      try tell(.command(command), &visitor)
    }
    return reader.offset
  }

  private mutating func adopt(_ advice: PostcopyAdvice) throws(Interruption) {
    let size = advice.targetPageSize
    let sizes = (UInt64(1) << WireSize.smallestPageBits)...(1 << WireSize.largestPageBits)
    guard sizes.contains(size), size.nonzeroBitCount == 1 else {
      throw invalid(
        .malformedCommand, reading: "the postcopy advice",
        expected: "a target page size from \(sizes.lowerBound) to \(sizes.upperBound)",
        found: "\(size)")
    }
    if configuration?.targetPageBits != nil, size != UInt64(ram.pageSize) {
      throw invalid(
        .malformedCommand, reading: "the postcopy advice",
        expected: "the target page size of the configuration, \(ram.pageSize)",
        found: "\(size)")
    }
    guard ramSectionID == nil else {
      throw invalid(
        .unexpectedElement, reading: "the postcopy advice",
        expected: "it before the RAM section", found: "it after the section's start")
    }
    ram.pageSize = Int(size)
    ram.mayCarryPageSizes = true
  }

  mutating func packagedBlob<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    let count = min(packageRemaining, bytes.byteCount)
    packageBlob.append(span: bytes.extracting(0..<count))
    packageRemaining -= count
    if packageRemaining == 0 { try finishPackage(&visitor) }
    return count
  }

  private mutating func finishPackage<V: StreamVisitor>(
    _ visitor: inout V
  ) throws(Interruption) {
    var blob: [UInt8] = []
    swap(&blob, &packageBlob)
    state = .element
    isPostcopy = true
    try tell(.command(.packaged(blob)), &visitor)
  }
}

extension VMCommand {
  /// A command as its header and payload tell it; a blob follows where only a size is known.
  enum Parsed {
    case whole(VMCommand)
    case packagedSize(UInt32)

    /// Reads a command after its type byte; Godwit's own only where both ends agreed on them.
    init(_ reader: inout ItemReader, takesKnownPages: Bool) throws(Interruption) {
      let number = try reader.next(UInt16.self)
      let length = Int(try reader.next(UInt16.self))
      guard let code = Code(rawValue: number), takesKnownPages || !code.isExtension else {
        throw .invalid(
          VMCommand.malformed(
            &reader, "a command from 1 to 11", "command \(number)",
            remedy: number == Code.askKnownPages.rawValue ? KnownPagesText.remedy : nil))
      }
      let allowed = code.payloadLengths
      guard allowed.contains(length) else {
        throw .invalid(
          VMCommand.malformed(
            &reader, "a payload of command \(code) of the right size", "\(length) bytes"))
      }
      if code == .postcopyAdvise && length != 0 && length != 16 {
        throw .invalid(
          VMCommand.malformed(&reader, "an advice of 0 or 16 bytes", "\(length) bytes"))
      }
      let range = try reader.nextRange(length)
      var payload = ItemReader(reader.bytes.extracting(range), base: reader.base)
      do throws(Interruption) {
        self = try VMCommand.parsePayload(code, length, &payload)
      } catch .needs(let total) {
        throw .invalid(
          VMCommand.malformed(
            &reader, "a payload of command \(code) within its \(length) bytes",
            "content of \(total) bytes or more"))
      }
      guard payload.offset == length else {
        throw .invalid(
          VMCommand.malformed(
            &reader, "a payload of command \(code) that fills its \(length) bytes",
            "content of \(payload.offset) bytes"))
      }
    }
  }

  private static func parsePayload(
    _ code: Code, _ length: Int, _ reader: inout ItemReader
  ) throws(Interruption) -> Parsed {
    switch code {
    case .openReturnPath: return .whole(.openReturnPath)
    case .ping: return .whole(.ping(try reader.next(UInt32.self)))
    case .postcopyAdvise where length == 0: return .whole(.postcopyAdvise(nil))
    case .postcopyAdvise:
      let summary = try reader.next(UInt64.self)
      let size = try reader.next(UInt64.self)
      return .whole(
        .postcopyAdvise(PostcopyAdvice(pageSizeSummary: summary, targetPageSize: size)))
    case .postcopyListen: return .whole(.postcopyListen)
    case .postcopyRun: return .whole(.postcopyRun)
    case .ramDiscard: return .whole(try parseDiscard(length, &reader))
    case .packaged: return .packagedSize(try reader.next(UInt32.self))
    case .enableCOLO: return .whole(.enableCOLO(try reader.nextBytes(length)))
    case .postcopyResume: return .whole(.postcopyResume)
    case .receiveBitmap:
      return .whole(.receiveBitmap(block: try reader.nextCountedText("the name of a block")))
    case .switchoverStart: return .whole(.switchoverStart)
    case .askKnownPages: return .whole(.askKnownPages(limit: try reader.next(UInt64.self)))
    }
  }

  private static func parseDiscard(
    _ length: Int, _ reader: inout ItemReader
  ) throws(Interruption) -> VMCommand {
    let end = reader.offset + length
    let version = try reader.next(UInt8.self)
    let block = try reader.nextCountedText("the name of a block to discard from")
    let terminator = try reader.next(UInt8.self)
    let rest = end - reader.offset
    guard version == 0, terminator == 0, rest > 0, rest % 16 == 0 else {
      throw .invalid(
        malformed(
          &reader, "a discard of version 0 with whole ranges after its name",
          "version \(version) and \(rest) bytes of ranges"))
    }
    var ranges: [RAMDiscardRange] = []
    ranges.reserveCapacity(rest / 16)
    while reader.offset < end {
      let start = try reader.next(UInt64.self)
      let count = try reader.next(UInt64.self)
      ranges.append(RAMDiscardRange(start: start, length: count))
    }
    return .ramDiscard(block: block, ranges: ranges)
  }

  private static func malformed(
    _ reader: inout ItemReader, _ expected: String, _ found: String, remedy: String? = nil
  ) -> WireError {
    WireError(
      .malformedCommand, at: reader.base, reading: "a command", expected: expected, found: found,
      remedy: remedy)
  }
}

extension VMCommand.Code {
  /// The sizes in bytes that the payload may have.
  fileprivate var payloadLengths: ClosedRange<Int> {
    switch self {
    case .openReturnPath, .postcopyListen, .postcopyRun, .postcopyResume, .switchoverStart: 0...0
    case .ping, .packaged: 4...4
    case .postcopyAdvise: 0...16
    case .ramDiscard: 20...65_535
    case .enableCOLO: 0...65_535
    case .receiveBitmap: 2...256
    case .askKnownPages: 8...8
    }
  }
}
