// VMDescription+Writing.swift: the description of a machine's device state, as a stream has it.

internal import JSON

extension VMDescription {
  /// Describes the device state of a machine.
  ///
  /// - Parameter pageSize: the size of a target page in bytes.
  public init(pageSize: UInt64?, devices: [Device]) {
    self.pageSize = pageSize
    self.devices = devices
  }

  /// The description as QEMU writes it: one JSON object, UTF-8, without a line end.
  ///
  /// Reading it back gives an equal description.
  public func encoded() -> [UInt8] {
    var members: [JSONMember] = []
    if let pageSize { members.append(JSONMember("page_size", JSONValue(pageSize))) }
    members.append(JSONMember("devices", .array(devices.map(\.json))))
    return JSONValue.object(members).bytes()
  }
}

extension VMDescription.Device {
  fileprivate var json: JSONValue {
    .object(
      [
        JSONMember("name", JSONValue(name)),
        JSONMember("instance_id", JSONValue(UInt64(instanceID))),
      ] + layout.members)
  }
}

extension VMDescription.Structure {
  /// The members that say it, within the object of a device, a field or a list.
  fileprivate var members: [JSONMember] {
    var members = [
      JSONMember("vmsd_name", JSONValue(name)),
      JSONMember("version", JSONValue(version)),
      JSONMember("fields", .array(fields.map(\.json))),
    ]
    if !subsections.isEmpty {
      members.append(JSONMember("subsections", .array(subsections.map { .object($0.members) })))
    }
    return members
  }
}

extension VMDescription.Field {
  /// A structure stands in an object of its own; the elements of a queue share the field's object.
  fileprivate var json: JSONValue {
    var members = [JSONMember("name", JSONValue(name))]
    if let index { members.append(JSONMember("index", JSONValue(index))) }
    if let arrayLength { members.append(JSONMember("array_len", JSONValue(arrayLength))) }
    members.append(JSONMember("type", JSONValue(type)))
    if type == "struct", let layout = layouts.first {
      members.append(JSONMember("struct", .object(layout.members)))
    } else {
      members += layouts.flatMap(\.members)
    }
    members.append(JSONMember("size", JSONValue(size)))
    return .object(members)
  }
}
