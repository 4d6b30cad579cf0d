// DeviceFieldDecoder.swift: decodes a section's payload by its description.

/// Walks a payload and its layout together.
///
/// The size of a field decides where the next one begins; what is inside has to fit it, and is
/// opaque where it does not. Only arrays of structures may turn out longer or shorter than
/// described, because their description is of the first element.
struct DeviceFieldDecoder {
  /// Why a part could not be decoded by its layout.
  private enum Obstacle: Error {
    /// The bytes are not what the layout says.
    case mismatch
    case tooManyValues
  }

  /// How many more values may be made.
  var valuesLeft: Int

  /// The fields of a whole payload.
  mutating func fields(
    _ payload: RawSpan, _ layout: VMDescription.Structure?
  ) throws(WireError) -> [DeviceField] {
    var fields: [DeviceField] = []
    var position = 0
    if let layout {
      do throws(Obstacle) {
        try append(layout, payload, &position, to: &fields)
      } catch .tooManyValues {
        throw WireError(
          .limitExceeded, at: 0, reading: "the fields of \(layout.name)",
          expected: "fewer values", found: "more than the limit")
      } catch {
        position = fields.last?.range.upperBound ?? 0
      }
    }
    if position < payload.byteCount {
      let rest = position..<payload.byteCount
      fields.append(
        DeviceField(
          name: layout == nil ? "data" : "rest", type: "undescribed", range: rest,
          value: .opaque(payload.array(in: rest))))
    }
    return fields
  }

  /// Appends the fields and subsections of a structure.
  private mutating func append(
    _ layout: VMDescription.Structure, _ payload: RawSpan, _ position: inout Int,
    to fields: inout [DeviceField]
  ) throws(Obstacle) {
    for field in layout.fields {
      let start = position
      let value = try value(of: field, payload, &position)
      fields.append(
        DeviceField(
          name: field.displayName, type: field.type, range: start..<position, value: value))
    }
    for part in layout.subsections {
      let start = position
      try passSubsectionHeader(part, payload, &position)
      var inner: [DeviceField] = []
      try append(part, payload, &position, to: &inner)
      fields.append(
        DeviceField(
          name: part.name, type: "subsection", range: start..<position,
          value: .structure(inner)))
    }
  }

  private func passSubsectionHeader(
    _ part: VMDescription.Structure, _ payload: RawSpan, _ position: inout Int
  ) throws(Obstacle) {
    var reader = ItemReader(payload.extracting(position..<payload.byteCount), base: 0)
    do throws(Interruption) {
      guard try reader.next(UInt8.self) == ElementType.subsection.rawValue,
        try reader.nextCountedText("the name of a subsection") == part.name
      else { throw Interruption.needs(total: 0) }
      _ = try reader.next(UInt32.self)
    } catch {
      throw .mismatch
    }
    position += reader.offset
  }

  /// The value of a field or of a run of them.
  private mutating func value(
    of field: VMDescription.Field, _ payload: RawSpan, _ position: inout Int
  ) throws(Obstacle) -> DeviceValue {
    guard let total = field.byteCount, let size = Int(exactly: field.size) else {
      throw .mismatch
    }
    guard let count = field.arrayLength else {
      return try element(field, size, payload, &position)
    }
    guard size > 0, total <= payload.byteCount - position || field.type == "struct" else {
      throw .mismatch
    }
    var elements: [DeviceValue] = []
    for _ in 0..<count {
      if field.type == "struct", let layout = field.layouts.first {
        var inner: [DeviceField] = []
        let start = position
        try append(layout, payload, &position, to: &inner)
        guard position > start else { throw .mismatch }
        try spend()
        elements.append(.structure(inner))
      } else {
        let value = try element(field, size, payload, &position)
        // QEMU 7.2 describes an array of pointers by its first element. If that points nowhere,
        // there is no telling what the others are, unless they point nowhere too.
        if field.type == "struct", value != .opaque([UInt8(ascii: "0")]) { throw .mismatch }
        elements.append(field.type == "struct" ? .null : value)
      }
    }
    return .array(elements)
  }

  /// The value of one element of `size` bytes, which it fills or is opaque.
  private mutating func element(
    _ field: VMDescription.Field, _ size: Int, _ payload: RawSpan, _ position: inout Int
  ) throws(Obstacle) -> DeviceValue {
    try spend()
    guard size <= payload.byteCount - position else { throw .mismatch }
    let bytes = payload.extracting(position..<position + size)
    position += size
    if let value = Self.scalar(field.type, bytes) { return value }
    do throws(Obstacle) {
      switch field.type {
      case "struct", "vstruct", "tmp": return try nested(field.layouts, bytes)
      case "qtailq", "qlist": return try queue(field.layouts, bytes)
      default: return .opaque(bytes.array())
      }
    } catch .mismatch {
      return .opaque(bytes.array())
    }
  }

  private mutating func spend() throws(Obstacle) {
    guard valuesLeft > 0 else { throw .tooManyValues }
    valuesLeft -= 1
  }

  /// One structure that fills `bytes`.
  private mutating func nested(
    _ layouts: [VMDescription.Structure], _ bytes: RawSpan
  ) throws(Obstacle) -> DeviceValue {
    guard let layout = layouts.first, layouts.count == 1 else { throw .mismatch }
    var position = 0
    var inner: [DeviceField] = []
    try append(layout, bytes, &position, to: &inner)
    guard position == bytes.byteCount else { throw .mismatch }
    return .structure(inner)
  }

  /// A queue that fills `bytes`: a 1 before each element, a 0 after the last.
  private mutating func queue(
    _ layouts: [VMDescription.Structure], _ bytes: RawSpan
  ) throws(Obstacle) -> DeviceValue {
    var elements: [DeviceValue] = []
    var position = 0
    for layout in layouts {
      guard position < bytes.byteCount, bytes.byte(at: position) == 1 else { throw .mismatch }
      position += 1
      var inner: [DeviceField] = []
      try append(layout, bytes, &position, to: &inner)
      try spend()
      elements.append(.structure(inner))
    }
    guard position == bytes.byteCount - 1, bytes.byte(at: position) == 0 else {
      throw .mismatch
    }
    return .array(elements)
  }
}
