// StreamDecoder+DeviceTail.swift: FULL sections, from the first to whatever ends them.

extension StreamDecoder {
  /// Goes over to collecting FULL sections; the byte that begins them is read again.
  mutating func beginDeviceTail() {
    deviceTail = DeviceTail()
    state = .deviceTail
  }

  private var tailRules: DeviceTail.Rules {
    var others: Set<UInt32> = []
    for (id, section) in sections where section.kind != .ram && !section.hasEnded {
      others.insert(id)
    }
    return DeviceTail.Rules(
      ramMayStart: ramSectionID == nil,
      openRAM: ramSectionID.flatMap { sections[$0]?.hasEnded == false ? $0 : nil },
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
    while let candidate = deviceTail.takeCandidate() {
      guard try endsTail(candidate, &visitor) else { continue }
      return count
    }
    guard deviceTail.candidateCount <= options.limits.tailCandidateCount else {
      throw invalid(
        .limitExceeded,
        expected: "at most \(options.limits.tailCandidateCount) places that look like its end",
        found: "one more")
    }
    if let place = deviceTail.continuation?.sectionsEnd {
      let early = Array(deviceTail.bytes[..<place])
      pushback = Array(deviceTail.bytes[place...])
      deviceTail = DeviceTail()
      state = .element
      try tell(.earlyDeviceState(early), &visitor)
    }
    return count
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
      throw invalid(.malformedDescription, expected: error.expected, found: error.found)
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
