// Holding a value against its shape, with QEMU's texts for what does not fit.

public import JSON

extension QMPType {
  /// Refuses a value of another shape, in QEMU's words.
  /// - Parameters:
  ///   - value: what a client sent, or what a command is about to answer.
  ///   - place: where it stands, such as `capabilities[0].state`.
  public func check(_ value: JSONValue, at place: String) throws(QMPRefusal) {
    switch self {
    case .any: return
    case .string: try require(value.string != nil, "string", place)
    case .boolean: try require(value.bool != nil, "boolean", place)
    case .number: try require(value.double != nil, "number", place)
    case .null: try require(value.isNull, "null", place)
    case .integer(let width): try width.check(value, at: place)
    case .enumeration(let words):
      guard let word = value.string else { return try require(false, "string", place) }
      guard words.words.contains(word) else {
        throw QMPRefusal("Parameter '\(Self.lastName(of: place))' does not accept value '\(word)'")
      }
    case .list(let element):
      guard let elements = value.array else { return try require(false, "array", place) }
      for index in elements.indices {
        try element.check(elements[index], at: "\(place)[\(index)]")
      }
    case .object(let object): try object.check(value, at: place)
    case .alternate(let name, let types):
      for type in types where type.kind == Self.kind(of: value) {
        return try type.check(value, at: place)
      }
      try require(false, name, place)
    }
  }

  private func require(
    _ fits: Bool, _ expected: String, _ place: String
  ) throws(QMPRefusal) {
    guard !fits else { return }
    throw QMPRefusal("Invalid parameter type for '\(place)', expected: \(expected)")
  }

  /// QEMU names the member alone here, not the way to it.
  private static func lastName(of place: String) -> String {
    place.split(separator: ".").last.map(String.init) ?? place
  }

  /// The kinds of JSON value; an alternate has at most one type of each.
  private enum Kind { case text, truth, number, null, list, object, any }

  private var kind: Kind {
    switch self {
    case .string, .enumeration: .text
    case .boolean: .truth
    case .integer, .number: .number
    case .null: .null
    case .list: .list
    case .object: .object
    case .any, .alternate: .any
    }
  }

  private static func kind(of value: JSONValue) -> Kind {
    switch value {
    case .string: .text
    case .bool: .truth
    case .integer, .unsigned, .number: .number
    case .null: .null
    case .array: .list
    case .object: .object
    }
  }
}

extension QMPInteger {
  func check(_ value: JSONValue, at place: String) throws(QMPRefusal) {
    switch value {
    case .integer, .unsigned: break
    case .null, .bool, .number, .string, .array, .object:
      throw QMPRefusal("Invalid parameter type for '\(place)', expected: integer")
    }
    guard holds(value) else { throw QMPRefusal("Parameter '\(place)' expects \(rawValue)") }
  }

  private func holds(_ value: JSONValue) -> Bool {
    guard self != .int64 else { return value.int64 != nil }
    guard let magnitude = value.uint64 else { return false }
    return switch self {
    case .uint8: magnitude <= UInt8.max
    case .uint16: magnitude <= UInt16.max
    case .uint32: magnitude <= UInt32.max
    case .uint64, .int64: true
    }
  }
}

extension QMPObject {
  /// Refuses a value that is no such object; `place` is empty for a command's arguments.
  func check(_ value: JSONValue, at place: String) throws(QMPRefusal) {
    guard let given = value.members else {
      throw QMPRefusal("Invalid parameter type for '\(place)', expected: object")
    }
    let prefix = place.isEmpty ? "" : place + "."
    let members = members(of: value)
    for member in members {
      if let present = value[member.name] {
        try member.type.check(present, at: prefix + member.name)
      } else if !member.isOptional {
        throw QMPRefusal("Parameter '\(prefix)\(member.name)' is missing")
      }
    }
    for member in given where !members.contains(where: { $0.name == member.name }) {
      throw QMPRefusal("Parameter '\(prefix)\(member.name)' is unexpected")
    }
  }
}
