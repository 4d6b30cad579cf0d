// VMStateWriter.swift: the bytes of one section and, beside them, their description.

internal import Wire

/// Where in a machine's state something happens.
struct VMStatePlace: Sendable {
  var action: VMStateError.Action
  var device: String
  var instance: UInt32
  /// The names of the structures around, outermost first.
  var path: [String] = []

  /// An error here, in `field` if that is not empty.
  func error(
    _ kind: VMStateError.Kind, field: String = "", offset: Int? = nil, expected: String,
    found: String, remedy: String? = nil
  ) -> VMStateError {
    let names = field.isEmpty ? path : path + [field]
    return VMStateError(
      kind, action, device: device, instance: instance, field: names.joined(separator: "."),
      offset: offset, expected: expected, found: found, remedy: remedy)
  }

  /// The error of a hook or a device that refused.
  func refusal(_ error: any Error, of what: String) -> VMStateError {
    if let known = error as? VMStateError { return known }
    return self.error(.refused, expected: what, found: "a refusal (\(error))")
  }
}

/// Collects the bytes of one section and the entries that describe them.
struct VMStateWriter: Sendable {
  private(set) var bytes: [UInt8] = []
  /// The entries of the structure that is being written.
  private(set) var fields: [VMDescription.Field] = []
  var place: VMStatePlace

  init(_ place: VMStatePlace) { self.place = place }

  /// Begins a structure; what it returns goes to `endStructure`.
  mutating func beginStructure() -> [VMDescription.Field] {
    defer { fields = [] }
    return fields
  }

  /// Ends a structure and returns its entries.
  mutating func endStructure(_ outer: [VMDescription.Field]) -> [VMDescription.Field] {
    defer { fields = outer }
    return fields
  }

  /// Adds an entry for bytes that are written.
  mutating func describe(_ field: VMDescription.Field) { fields.append(field) }

  /// Adds an entry for the bytes written since `start`.
  mutating func describe(_ name: String, _ type: String, since start: Int) {
    describe(VMDescription.Field(name: name, type: type, size: UInt64(bytes.count - start)))
  }

  /// Adds the bytes of an integer without an entry.
  mutating func append<T: VMStateScalar>(_ value: T) {
    var shift = T.bitWidth
    while shift > 0 {
      shift -= 8
      bytes.append(UInt8(truncatingIfNeeded: value >> T(truncatingIfNeeded: shift)))
    }
  }

  /// Adds bytes without an entry.
  mutating func append(_ more: [UInt8]) { bytes += more }

  /// Adds what begins a subsection.
  mutating func appendSubsectionHeader(name: String, version: Int) {
    bytes.append(VMStateFormat.subsection)
    bytes.append(UInt8(name.utf8.count))
    bytes += name.utf8
    append(UInt32(version))
  }
}

/// What the format fixes.
enum VMStateFormat {
  /// The byte that begins a subsection.
  static let subsection: UInt8 = 0x05
  /// The most bytes of a section's or subsection's name.
  static let nameSize = 255
  /// The most fields of a newer version that an error lists.
  static let listedNameCount = 8
}
