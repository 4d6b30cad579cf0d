// StreamDecoder+Configuration.swift: the configuration section and its optional parts.

extension StreamDecoder {
  mutating func afterHeader(_ bytes: RawSpan) throws(Interruption) -> Int {
    var reader = ItemReader(bytes, base: offset)
    guard try reader.next(UInt8.self) == ElementType.configuration.rawValue else {
      state = .element  // A machine type up to 2.3 has no configuration section.
      return 0
    }
    let size = try reader.next(UInt32.self)
    let limit = options.limits.machineNameSize
    guard size <= limit else {
      throw invalid(
        .limitExceeded, reading: "the machine type", expected: "a name of at most \(limit) bytes",
        found: "a length of \(size)")
    }
    let machine = try reader.nextText(Int(size), "the machine type")
    configuration = StreamConfiguration(machine: machine)
    state = .configurationPart
    return reader.offset
  }

  mutating func configurationPart<V: StreamVisitor>(
    _ bytes: RawSpan, _ visitor: inout V
  ) throws(Interruption) -> Int {
    guard var known = configuration else { preconditionFailure("the machine type comes first") }
    var reader = ItemReader(bytes, base: offset)
    guard try reader.next(UInt8.self) == ElementType.subsection.rawValue else {
      try adopt(known)
      state = .element
      try tell(.configuration(known), &visitor)
      return 0
    }
    let name = try reader.nextCountedText("the name of a part of the configuration")
    let version = try reader.next(UInt32.self)
    guard version == 1 else {
      throw invalid(
        .malformedConfiguration, expected: "\(name) in version 1", found: "version \(version)")
    }
    switch name {
    case StreamConfiguration.PartName.targetPageBits where known.targetPageBits == nil:
      known.targetPageBits = try reader.next(UInt32.self)
    case StreamConfiguration.PartName.capabilities where known.capabilities == nil:
      known.capabilities = try capabilities(&reader)
    case StreamConfiguration.PartName.uuid where known.uuid == nil:
      known.uuid = try reader.nextBytes(16)
    default:
      throw invalid(
        .malformedConfiguration,
        expected: "target-page-bits, capabilities or uuid, each at most once", found: name)
    }
    configuration = known
    return reader.offset
  }

  private func capabilities(_ reader: inout ItemReader) throws(Interruption) -> [String] {
    let count = try reader.next(UInt32.self)
    guard count <= options.limits.capabilityCount else {
      throw invalid(
        .limitExceeded, reading: "the capabilities of the configuration",
        expected: "at most \(options.limits.capabilityCount)", found: "\(count)")
    }
    var names: [String] = []
    for _ in 0..<count {
      names.append(try reader.nextCountedText("the name of a capability"))
    }
    return names
  }

  /// Takes what the configuration says about the rest of the stream.
  private mutating func adopt(_ known: StreamConfiguration) throws(Interruption) {
    if let bits = known.targetPageBits {
      let range = WireSize.smallestPageBits...WireSize.largestPageBits
      guard range.contains(bits) else {
        throw invalid(
          .malformedConfiguration, reading: "the target page size",
          expected: "between 2^\(range.lowerBound) and 2^\(range.upperBound) bytes",
          found: "2^\(bits)")
      }
      ram.pageSize = 1 << Int(bits)
    }
    ram.carriesAddresses = known.hasCapability("x-ignore-shared")
    guard !known.hasCapability("mapped-ram") else {
      throw invalid(
        .unsupported, expected: "a stream", found: "a seekable file (capability mapped-ram)",
        remedy: "Send again without the mapped-ram capability.")
    }
  }
}
