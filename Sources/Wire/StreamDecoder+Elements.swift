// StreamDecoder+Elements.swift: one step of decoding: header, section headers, footers, the end.

extension StreamDecoder {
  /// Reads one item, or a run of records, from the beginning of `bytes`, which is not empty, and
  /// says how many bytes it took.
  ///
  /// Taking none means that another state reads the same bytes.
  mutating func step<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    switch state {
    case .header: try header(bytes, &visitor)
    case .afterHeader: try afterHeader(bytes)
    case .configurationPart: try configurationPart(bytes, &visitor)
    case .element: try element(bytes, &visitor)
    case .ramSetup: try ramSetup(bytes, &visitor)
    case .ramBlock: try ramBlock(bytes, &visitor)
    case .ramBlockPageSize: try ramBlockPageSize(bytes, &visitor)
    case .ramItems: try ramItems(bytes, &visitor)
    case .dirtyBitmap: try dirtyBitmap(bytes, &visitor)
    case .opaqueSection: try opaqueSection(bytes, &visitor)
    case .footer: try footer(bytes, &visitor)
    case .packagedBlob: try packagedBlob(bytes, &visitor)
    case .deviceTail: try deviceTailBytes(bytes, &visitor)
    case .finished:
      throw invalid(.bytesAfterEnd, expected: "nothing more", found: "further bytes")
    }
  }

  private mutating func header<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    var reader = ItemReader(bytes, base: offset)
    let magic = try reader.next(UInt32.self)
    guard magic == StreamHeader.magic else {
      throw invalid(
        .notAStream, expected: "the magic number \(hex(StreamHeader.magic)) (QEVM)",
        found: hex(magic))
    }
    let version = try reader.next(UInt32.self)
    guard version == StreamHeader.version else {
      let note = version == StreamHeader.obsoleteVersion ? " (obsolete)" : ""
      throw invalid(
        .unsupported, ahead: 4, expected: "version \(StreamHeader.version)",
        found: "\(version)\(note)")
    }
    try tell(.header, &visitor)
    state = .afterHeader
    return reader.offset
  }

  private mutating func element<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    let code = bytes.byte(at: 0)
    switch ElementType(rawValue: code) {
    case .sectionStart: return try sectionStart(bytes, &visitor)
    case .sectionPart, .sectionEnd: return try sectionContinuation(bytes, &visitor)
    case .command: return try command(bytes, &visitor)
    case .endOfStream where isPostcopy:
      try tell(.endOfStream, &visitor)
      state = .finished
      return 1
    case .sectionFull where !isPostcopy, .endOfStream:
      beginDeviceTail()
      return 0
    case .sectionFull, .subsection, .description, .configuration, .footer, nil:
      throw invalid(
        .unexpectedElement, expected: "a section, a command or the end of the stream",
        found: "the byte \(hex(code))")
    }
  }

  private mutating func sectionStart<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    var reader = ItemReader(bytes, base: offset)
    _ = try reader.next(UInt8.self)
    let header = try SectionHeader(&reader)
    guard sections[header.id] == nil else {
      throw invalid(
        .unknownSection, expected: "a section that was not started before",
        found: "section \(header.id) (\(header.name)) for the second time")
    }
    guard sections.count < options.limits.sectionCount else {
      throw invalid(
        .limitExceeded, expected: "at most \(options.limits.sectionCount) sections",
        found: "one more")
    }
    let kind = try kind(of: header)
    sections[header.id] = OpenSection(kind: kind)
    currentID = header.id
    if kind == .ram { ramSectionID = header.id }
    try tell(.sectionStart(header), &visitor)
    state = kind == .ram ? .ramSetup : payloadState(kind)
    return reader.offset
  }

  private func kind(of header: SectionHeader) throws(Interruption) -> OpenSection.Kind {
    switch (header.name, header.versionID) {
    case ("ram", 4):
      guard ramSectionID == nil else {
        throw invalid(
          .unknownSection, expected: "one RAM section", found: "a second, \(header.id)")
      }
      return .ram
    case ("dirty-bitmap", 1): return .dirtyBitmap
    case ("ram", let version), ("dirty-bitmap", let version):
      throw invalid(
        .unsupported, expected: "section \(header.name) in the version of QEMU 2.0 and later",
        found: "version \(version)")
    default: return .opaque
    }
  }

  private mutating func payloadState(_ kind: OpenSection.Kind) -> State {
    switch kind {
    case .ram: return .ramItems
    case .dirtyBitmap: return .dirtyBitmap
    case .opaque:
      opaquePayload = OpaquePayload()
      return .opaqueSection
    }
  }

  private mutating func sectionContinuation<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    var reader = ItemReader(bytes, base: offset)
    let isEnd = try reader.next(UInt8.self) == ElementType.sectionEnd.rawValue
    let id = try reader.next(UInt32.self)
    guard let section = sections[id] else {
      throw invalid(
        .unknownSection, expected: "a section that was started", found: "section \(id)")
    }
    guard !section.hasEnded else {
      throw invalid(
        .unknownSection, expected: "a section that goes on",
        found: "section \(id), which had ended")
    }
    if isEnd { sections[id]?.hasEnded = true }
    currentID = id
    try tell(isEnd ? .sectionEnd(id: id) : .sectionPart(id: id), &visitor)
    state = payloadState(section.kind)
    return reader.offset
  }

  /// Goes on after the payload of a section: to its footer, if there are footers.
  mutating func finishPayload<V: StreamVisitor>(_ visitor: inout V) throws(Interruption) {
    if options.carriesOnlyPages {
      state = .finished
    } else if usesFooters == false {
      try closeSection(&visitor)
    } else {
      state = .footer
    }
  }

  private mutating func footer<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    var reader = ItemReader(bytes, base: offset)
    let code = try reader.next(UInt8.self)
    if code != ElementType.footer.rawValue, usesFooters == nil {
      // A machine type up to 2.3: the first section shows that there are none.
      usesFooters = false
      try closeSection(&visitor)
      return 0
    }
    guard code == ElementType.footer.rawValue else {
      throw invalid(
        .footerMismatch, expected: "the byte 0x7e", found: "the byte \(hex(code))")
    }
    let id = try reader.next(UInt32.self)
    guard id == currentID else {
      throw invalid(
        .footerMismatch, expected: "the footer of section \(currentID)",
        found: "that of section \(id)")
    }
    usesFooters = true
    try closeSection(&visitor)
    return reader.offset
  }

  private mutating func closeSection<V: StreamVisitor>(
    _ visitor: inout V
  ) throws(Interruption) {
    state = .element
    if currentID == ramSectionID { try tell(.ramEndOfSection, &visitor) }
  }

  /// What the end of the input means in this state.
  mutating func end<V: StreamVisitor>(_ visitor: inout V) throws(Interruption) {
    switch state {
    case .finished: return
    case .deviceTail where !options.expectsDeviceDescription:
      try endUndescribedTail(&visitor)
    case .deviceTail:
      throw .invalid(
        WireError(
          .truncated, at: offset, reading: reading,
          expected: "its end and the vmdescription", found: "the end of the input",
          remedy: "The sender stopped early; or, if the machine has suppress-vmdesc=on, say "
            + "that no description is expected."))
    case .header, .afterHeader, .configurationPart, .element, .ramSetup, .ramBlock,
      .ramBlockPageSize, .ramItems, .dirtyBitmap, .opaqueSection, .footer, .packagedBlob:
      throw .invalid(truncation(found: "the end of the input"))
    }
  }
}

extension SectionHeader {
  /// Reads a header after its type byte.
  init(_ reader: inout ItemReader) throws(Interruption) {
    id = try reader.next(UInt32.self)
    name = try reader.nextCountedText("the name of a section")
    instanceID = try reader.next(UInt32.self)
    versionID = try reader.next(UInt32.self)
  }
}
