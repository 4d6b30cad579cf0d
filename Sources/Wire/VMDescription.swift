// VMDescription.swift: the JSON that describes a machine's device state, as values.

internal import JSON

/// What a stream's vmdescription says of the layout of its FULL sections.
public struct VMDescription: Equatable, Sendable {
  /// The layout of one device's section.
  public struct Device: Equatable, Sendable {
    /// The section's name.
    public var name: String
    /// Which of several devices of that name.
    public var instanceID: UInt32
    /// The layout of the payload.
    public var layout: Structure

    /// Describes one device's section.
    public init(name: String, instanceID: UInt32, layout: VMDescription.Structure) {
      self.name = name
      self.instanceID = instanceID
      self.layout = layout
    }
  }

  /// A description of fields in their order on the wire, followed by optional parts.
  public struct Structure: Equatable, Sendable {
    /// The name that QEMU gives the description.
    public var name: String
    /// The version of the layout.
    public var version: Int
    /// The fields, in order.
    public var fields: [Field]
    /// The subsections that are present, in order.
    public var subsections: [Structure]

    /// Describes fields in their order on the wire and the parts that follow them.
    public init(
      name: String, version: Int, fields: [VMDescription.Field],
      subsections: [VMDescription.Structure]
    ) {
      self.name = name
      self.version = version
      self.fields = fields
      self.subsections = subsections
    }
  }

  /// One field, or a run of equal ones.
  public struct Field: Equatable, Sendable {
    /// The field's name.
    public var name: String
    /// The kind of its encoding (`uint32`, `timer`, `struct`, `virtio`).
    public var type: String
    /// The size in bytes; of the first element where there are several.
    public var size: UInt64
    /// How many elements a run has, if it is one.
    public var arrayLength: UInt64?
    /// The place in its array, where the elements are described one by one.
    public var index: UInt64?
    /// The layout within: one for a structure, one for each element of a queue.
    public var layouts: [Structure]

    /// Describes one field, or a run of equal ones.
    ///
    /// - Parameter size: in bytes; of the first element where there are several.
    public init(
      name: String, type: String, size: UInt64, arrayLength: UInt64? = nil, index: UInt64? = nil,
      layouts: [VMDescription.Structure] = []
    ) {
      self.name = name
      self.type = type
      self.size = size
      self.arrayLength = arrayLength
      self.index = index
      self.layouts = layouts
    }
  }

  /// The target page size in bytes, if it is told.
  public var pageSize: UInt64?
  /// The devices, in the order of their sections.
  public var devices: [Device]

  /// Reads a description; `{}` is one, of nothing.
  /// - Throws: `WireError` of kind `malformedDescription` or `limitExceeded`.
  public init(
    parsing json: [UInt8], limits: WireLimits = WireLimits()
  ) throws(WireError) {
    let value: JSONValue
    do {
      value = try JSONValue(
        parsing: json,
        limits: JSONLimits(
          byteCount: limits.descriptionSize, depth: limits.descriptionDepth,
          valueCount: limits.descriptionValueCount))
    } catch {
      throw Self.refused(error)
    }
    try self.init(value)
  }

  private init(_ value: JSONValue) throws(WireError) {
    guard value.members != nil else { throw Self.malformed("an object", value.kind) }
    pageSize = value["page_size"]?.uint64
    devices = []
    guard let list = value["devices"] else { return }
    guard let entries = list.array else {
      throw Self.malformed("a list of devices", list.kind)
    }
    for entry in entries { devices.append(try Device(entry)) }
  }

  private static func refused(_ error: JSONError) -> WireError {
    let kind: WireError.Kind =
      switch error.problem {
      case .tooLarge, .tooDeep, .tooManyValues: .limitExceeded
      default: .malformedDescription
      }
    return WireError(
      kind, at: UInt64(error.offset), reading: "the vmdescription",
      expected: "JSON within the limits", found: "a fault (\(error.description.dropLast()))")
  }

  static func malformed(_ expected: String, _ found: String) -> WireError {
    WireError(
      .malformedDescription, at: 0, reading: "the vmdescription", expected: expected,
      found: found)
  }
}

extension VMDescription.Device {
  fileprivate init(_ value: JSONValue) throws(WireError) {
    guard let name = value["name"]?.string,
      let instance = value["instance_id"]?.uint64.flatMap({ UInt32(exactly: $0) })
    else {
      throw VMDescription.malformed("a device with name and instance_id", "one without")
    }
    self.name = name
    instanceID = instance
    guard let structure = try VMDescription.Structure.all(in: value.members ?? []).first else {
      throw VMDescription.malformed("device \(name) with fields", "none")
    }
    layout = structure
  }
}

extension VMDescription.Structure {
  /// The structures whose parts are members of one object.
  ///
  /// There are several where QEMU writes the elements of a queue into the object of the field, with
  /// equal names.
  fileprivate static func all(in members: [JSONMember]) throws(WireError) -> [Self] {
    var result: [Self] = []
    var current: Self?
    for member in members {
      switch member.name {
      case "vmsd_name":
        if let done = current { result.append(done) }
        current = Self(
          name: member.value.string ?? "", version: 0, fields: [], subsections: [])
      case "version":
        current?.version = member.value.int ?? 0
      case "fields":
        var fields: [VMDescription.Field] = []
        for entry in member.value.array ?? [] { fields.append(try VMDescription.Field(entry)) }
        // A device of the old style has fields and no name for its layout.
        if current == nil { current = Self(name: "", version: 0, fields: [], subsections: []) }
        current?.fields = fields
      case "subsections":
        for entry in member.value.array ?? [] {
          current?.subsections += try all(in: entry.members ?? [])
        }
      default: break
      }
    }
    if let done = current { result.append(done) }
    return result
  }

  /// The size in bytes by the description, or `nil` where it exceeds what a stream can hold.
  var byteCount: Int? {
    var total = 0
    for field in fields {
      guard let size = field.byteCount else { return nil }
      total += size
      if total > Int(Int32.max) { return nil }
    }
    for part in subsections {
      guard let size = part.byteCount else { return nil }
      total += 6 + part.name.utf8.count + size
      if total > Int(Int32.max) { return nil }
    }
    return total
  }
}

extension VMDescription.Field {
  fileprivate init(_ value: JSONValue) throws(WireError) {
    guard let name = value["name"]?.string, let type = value["type"]?.string,
      let size = value["size"]?.uint64
    else {
      throw VMDescription.malformed("a field with name, type and size", "one without")
    }
    self.name = name
    self.type = type
    self.size = size
    arrayLength = value["array_len"]?.uint64
    index = value["index"]?.uint64
    layouts = try VMDescription.Structure.all(
      in: value["struct"]?.members ?? value.members ?? [])
  }

  /// The size in bytes of all elements, or `nil` where it exceeds what a stream can hold.
  var byteCount: Int? {
    let (total, overflow) = size.multipliedReportingOverflow(by: arrayLength ?? 1)
    return overflow || total > UInt64(Int32.max) ? nil : Int(total)
  }
}
