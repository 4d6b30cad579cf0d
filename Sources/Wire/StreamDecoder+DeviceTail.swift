// StreamDecoder+DeviceTail.swift: FULL sections, from the first to whatever ends them.

extension StreamDecoder {
  /// Goes over to collecting FULL sections; the byte that begins them is read again.
  mutating func beginDeviceTail() {
    deviceTail = DeviceTail(start: offset)
    state = .deviceTail
  }

  private var tailRules: DeviceTail.Rules {
    var others: Set<UInt32> = []
    for (id, section) in sections where section.kind != .ram && !section.hasEnded {
      others.insert(id)
    }
    let openRAM = ramSectionID.flatMap { sections[$0]?.hasEnded == false ? $0 : nil }
    return DeviceTail.Rules(
      sectionsMayStart: ramSectionID == nil || openRAM != nil, openRAM: openRAM,
      openOthers: others, flagMask: ram.flagMask, usesFooters: usesFooters ?? true,
      descriptionSize: options.limits.descriptionSize)
  }

  mutating func deviceTailBytes<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    let limit = options.limits.deviceStateSize
    let count = min(bytes.byteCount, WireSize.searchStep, limit - deviceTail.bytes.count)
    guard count > 0 else {
      throw invalid(
        .limitExceeded, expected: "device state of at most \(limit) bytes", found: "more")
    }
    deviceTail.append(bytes.extracting(0..<count), tailRules)
    try checkEmptyTail()
    while true {
      switch deviceTail.next(limit: options.limits.tailCandidateCount) {
      case .open:
        return count
      case .candidate(let candidate):
        if try endsTail(candidate, &visitor) { return count }
      case .continuation(let place):
        let early = Array(deviceTail.bytes[..<place.sectionsEnd])
        pushback = Array(deviceTail.bytes[place.sectionsEnd...])
        deviceTail = DeviceTail()
        state = .element
        try tell(.earlyDeviceState(early), &visitor)
        return count
      case .tooManyCandidates:
        throw invalidTail(
          .limitExceeded,
          expected: "at most \(options.limits.tailCandidateCount) places that look like its end",
          found: "one more")
      }
    }
  }

  /// Refuses what follows the end of the sections, where there are no FULL ones, at once.
  private func checkEmptyTail() throws(Interruption) {
    let bytes = deviceTail.bytes
    guard bytes.first == ElementType.endOfStream.rawValue, bytes.count >= 2 else { return }
    guard bytes[1] == ElementType.description.rawValue else {
      throw invalidTail(
        .unexpectedElement, expected: "a vmdescription after the end of the sections",
        found: "the byte \(hex(bytes[1]))")
    }
    guard bytes.count >= 7 else { return }
    let size = bytes[2..<6].reduce(0) { $0 << 8 | Int($1) }
    guard bytes[6] == UInt8(ascii: "{"), (2...options.limits.descriptionSize).contains(size) else {
      throw invalidTail(
        .malformedDescription,
        expected: "an object of 2 to \(options.limits.descriptionSize) bytes of JSON",
        found: "\(size) bytes that begin with \(hex(bytes[6]))")
    }
  }

  /// An error in what was collected, at its beginning.
  private func invalidTail(
    _ kind: WireError.Kind, expected: String, found: String
  ) -> Interruption {
    .invalid(
      WireError(
        kind, at: deviceTail.start, reading: reading, expected: expected, found: found))
  }

  /// Ends the stream if the candidate's description describes what is before it.
  private mutating func endsTail<V: StreamVisitor>(
    _ candidate: DeviceTail.Candidate, _ visitor: inout V
  ) throws(Interruption) -> Bool {
    let description = Array(deviceTail.bytes[candidate.sectionsEnd + 6..<candidate.end])
    let tail = DeviceState(
      bytes: Array(deviceTail.bytes[..<candidate.sectionsEnd]), description: description,
      usesFooters: usesFooters ?? true)
    do throws(WireError) {
      _ = try tail.sections(limits: options.limits)
    } catch {
      guard candidate.sectionsEnd == 0 else { return false }
      // Nothing but a description can follow here, so its fault is the stream's.
      throw invalidTail(error.kind, expected: error.expected, found: error.found)
    }
    pushback = Array(deviceTail.bytes[candidate.end...])
    deviceTail = DeviceTail()
    state = .finished
    try tell(.deviceState(tail), &visitor)
    try tell(.endOfStream, &visitor)
    try tell(.vmDescription(description), &visitor)
    return true
  }

  /// Ends a stream that has no description, at the end of its input.
  mutating func endUndescribedTail<V: StreamVisitor>(
    _ visitor: inout V
  ) throws(Interruption) {
    guard deviceTail.bytes.last == ElementType.endOfStream.rawValue else {
      throw .invalid(truncation(found: "the end of the input"))
    }
    let tail = DeviceState(
      bytes: deviceTail.bytes.dropLast(), description: nil, usesFooters: usesFooters ?? true)
    if tail.usesFooters {
      do throws(WireError) {
        _ = try tail.sections(limits: options.limits)
      } catch {
        throw .invalid(truncation(found: "the end of the input within a section"))
      }
    }
    deviceTail = DeviceTail()
    state = .finished
    try tell(.deviceState(tail), &visitor)
    try tell(.endOfStream, &visitor)
  }
}
