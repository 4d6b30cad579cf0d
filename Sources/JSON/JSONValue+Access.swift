// Reading a JSON value by the shape one expects; every accessor answers nil for another shape.

extension JSONValue {
  /// The first member of this name, or nil where there is none or this is no object.
  public subscript(name: String) -> JSONValue? {
    guard case .object(let members) = self else { return nil }
    for member in members where member.name == name {
      return member.value
    }
    return nil
  }

  /// The element at this position, or nil outside the list or where this is no list.
  public subscript(index: Int) -> JSONValue? {
    guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
    return elements[index]
  }

  /// The members in the order written, repetitions included; nil unless this is an object.
  public var members: [JSONMember]? {
    guard case .object(let members) = self else { return nil }
    return members
  }

  /// The elements; nil unless this is a list.
  public var array: [JSONValue]? {
    guard case .array(let elements) = self else { return nil }
    return elements
  }

  /// The text; nil unless this is a string.
  public var string: String? {
    guard case .string(let text) = self else { return nil }
    return text
  }

  /// The truth value; nil unless this is one.
  public var bool: Bool? {
    guard case .bool(let value) = self else { return nil }
    return value
  }

  /// The whole number as an `Int64`; nil for everything else, and above `Int64.max`.
  public var int64: Int64? {
    guard case .integer(let value) = self else { return nil }
    return value
  }

  /// The whole number as an `Int`; nil for everything else, and above `Int.max`.
  public var int: Int? {
    int64.flatMap { Int(exactly: $0) }
  }

  /// The whole number as a `UInt64`; nil for everything else, and below zero.
  public var uint64: UInt64? {
    switch self {
    case .integer(let value): UInt64(exactly: value)
    case .unsigned(let value): value
    case .null, .bool, .number, .string, .array, .object: nil
    }
  }

  /// Any number as a `Double`, rounded where 53 bits do not hold it; nil for everything else.
  public var double: Double? {
    switch self {
    case .integer(let value): Double(value)
    case .unsigned(let value): Double(value)
    case .number(let value): value
    case .null, .bool, .string, .array, .object: nil
    }
  }

  /// Whether this is `null`.
  public var isNull: Bool { self == .null }

  /// What kind of value this is, as a word for messages to a person.
  public var kind: String {
    switch self {
    case .null: "null"
    case .bool: "a truth value"
    case .integer, .unsigned, .number: "a number"
    case .string: "a string"
    case .array: "a list"
    case .object: "an object"
    }
  }
}
