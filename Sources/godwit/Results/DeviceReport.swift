// One device's state, field by field.

import Endpoints
import JSON
import Wire

/// What `inspect --device` gives: every device of that name.
struct DeviceReport {
  private let devices: [DeviceSection]

  /// Finds the devices that the person means.
  /// - Throws: ``UnknownDevice`` if there are none.
  init(_ inspection: Inspection, _ name: String) throws(UnknownDevice) {
    devices = inspection.devices(called: name)
    guard !devices.isEmpty else {
      throw UnknownDevice(name: name, known: inspection.devices.map(\.header.name))
    }
  }

  /// Writes their headers and fields.
  func write(to console: Console) throws {
    var objects: [JSONValue] = []
    for device in devices {
      let header = device.header
      let size = Units.count(UInt64(device.payload.count), "byte")
      console.print(
        "\(header.name)  instance \(header.instanceID), version \(header.versionID), \(size)")
      let fields = try device.fields()
      for line in FieldTree(fields).lines { console.print(line) }
      let tree = JSONMember("fields", .array(fields.map(\.json)))
      objects.append(.object(device.jsonMembers + [tree]))
    }
    console.emit("result", [JSONMember("devices", .array(objects))])
  }
}

/// A device that is not there.
struct UnknownDevice: Error, CustomStringConvertible {
  let name: String
  let known: [String]

  var description: String {
    guard !known.isEmpty else { return "there is no device \(name): no devices are listed here." }
    return "there is no device \(name). There are: \(Set(known).sorted().joined(separator: ", "))."
  }
}
