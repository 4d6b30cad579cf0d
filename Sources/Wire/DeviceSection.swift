// DeviceSection.swift: FULL sections split from one another, by their description or footers.

/// One FULL section of a device state.
public struct DeviceSection: Equatable, Sendable {
  /// The section's header.
  public var header: SectionHeader
  /// Where the whole section lies in the device state, header and footer included.
  public var range: Range<Int>
  /// The section without header and footer.
  public var payload: ArraySlice<UInt8>
  /// The layout of the payload, where the description has one.
  public var layout: VMDescription.Structure?
}

extension DeviceState {
  /// The sections, in their order.
  ///
  /// A section's size is what its description says, and its footer has to follow. Where the
  /// description is silent or wrong, as it is for some arrays, the footer is searched.
  /// - Throws: `WireError` of kind `malformedDeviceState` with the offset within `bytes`, or
  ///   `malformedDescription`.
  public func sections(
    limits: WireLimits = WireLimits()
  ) throws(WireError) -> [DeviceSection] {
    var known: VMDescription?
    if let description { known = try VMDescription(parsing: description, limits: limits) }
    return try DeviceSplitter(bytes: bytes, description: known, usesFooters: usesFooters)
      .sections(until: bytes.count)
  }
}

/// Splits FULL sections from one another.
struct DeviceSplitter {
  private let bytes: [UInt8]
  private let usesFooters: Bool
  private let layouts: [String: [UInt32: VMDescription.Structure]]
  private let footerSize: Int

  init(bytes: [UInt8], description: VMDescription?, usesFooters: Bool) {
    self.bytes = bytes
    self.usesFooters = usesFooters
    footerSize = usesFooters ? 5 : 0
    var layouts: [String: [UInt32: VMDescription.Structure]] = [:]
    for device in description?.devices ?? [] {
      layouts[device.name, default: [:]][device.instanceID] = device.layout
    }
    self.layouts = layouts
  }

  /// The sections from the beginning up to `end`, which must be the end of one.
  func sections(until end: Int) throws(WireError) -> [DeviceSection] {
    try bytes.withSpan { span throws(WireError) in
      let all = span.extracting(0..<end)
      var sections: [DeviceSection] = []
      var position = 0
      while position < end {
        let section = try section(all, at: position)
        sections.append(section)
        position = section.range.upperBound
      }
      return sections
    }
  }

  private func section(_ all: RawSpan, at start: Int) throws(WireError) -> DeviceSection {
    let (header, payloadStart) = try header(all, at: start)
    let layout = layouts[header.name]?[header.instanceID]
    guard let end = payloadEnd(all, payloadStart, header, layout) else {
      throw malformed(
        at: start, "section \(header.id) (\(header.name)) to end in its footer",
        "none that fits its description")
    }
    return DeviceSection(
      header: header, range: start..<end + footerSize, payload: bytes[payloadStart..<end],
      layout: layout)
  }

  private func header(
    _ all: RawSpan, at start: Int
  ) throws(WireError) -> (SectionHeader, payloadStart: Int) {
    var reader = ItemReader(all.extracting(start..<all.byteCount), base: UInt64(start))
    do throws(Interruption) {
      if try reader.next(UInt8.self) == ElementType.sectionFull.rawValue {
        let header = try SectionHeader(&reader)
        return (header, start + reader.offset)
      }
    } catch {
      throw malformed(at: start, "the header of a section", "the end, or a name that is no text")
    }
    throw malformed(at: start, "a FULL section", "the byte \(hex(all.byte(at: start)))")
  }

  /// Where the payload ends: where the description says, or else where a footer shows it.
  private func payloadEnd(
    _ all: RawSpan, _ start: Int, _ header: SectionHeader, _ layout: VMDescription.Structure?
  ) -> Int? {
    if let size = layout?.byteCount, size <= all.byteCount - start,
      hasFooter(all, start + size, header.id)
    {
      return start + size
    }
    guard usesFooters else { return nil }
    var place = start
    while let next = all.firstOffset(of: ElementType.footer.rawValue, from: place) {
      if hasFooter(all, next, header.id), canFollow(all, next + footerSize) { return next }
      place = next + 1
    }
    return nil
  }

  private func hasFooter(_ all: RawSpan, _ place: Int, _ id: UInt32) -> Bool {
    guard usesFooters else { return true }
    return place + footerSize <= all.byteCount
      && all.byte(at: place) == ElementType.footer.rawValue
      && all.bigEndian(at: place + 1, as: UInt32.self) == id
  }

  /// Whether another section, or nothing, stands at `place`.
  private func canFollow(_ all: RawSpan, _ place: Int) -> Bool {
    if place == all.byteCount { return true }
    guard all.byte(at: place) == ElementType.sectionFull.rawValue,
      SectionHeader.isPlausible(all, place) == true
    else { return false }
    if layouts.isEmpty { return true }
    let length = Int(all.byte(at: place + 5))
    guard let name = all.text(in: place + 6..<place + 6 + length) else { return false }
    return layouts[name] != nil
  }

  private func malformed(at offset: Int, _ expected: String, _ found: String) -> WireError {
    WireError(
      .malformedDeviceState, at: UInt64(offset), reading: "the device state",
      expected: expected, found: found)
  }
}
