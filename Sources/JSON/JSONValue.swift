// A JSON value that keeps what was written: member order, repeated members, whole 64-bit numbers.

/// One JSON value (RFC 8259).
///
/// Objects keep the order of their members and every repetition of a name, because QEMU's
/// descriptions of device state repeat names. Whole numbers stay exact over the ranges of both
/// 64-bit integer types; only other numbers become `Double`.
///
/// Strings compare as Swift strings do: canonically equivalent texts are equal.
public enum JSONValue: Equatable, Sendable {
  /// The literal `null`.
  case null
  /// `true` or `false`.
  case bool(Bool)
  /// A whole number from -2^63 to 2^63 - 1.
  case integer(Int64)
  /// A whole number from 2^63 to 2^64 - 1; smaller ones are always `integer`.
  case unsigned(UInt64)
  /// Any other finite number.
  case number(Double)
  /// A text.
  case string(String)
  /// A list of values.
  case array([JSONValue])
  /// Named values in the order in which they were written, repetitions included.
  case object([JSONMember])
}

/// One named value of an object.
public struct JSONMember: Equatable, Sendable {
  /// The member's name; an object may hold it more than once.
  public var name: String
  /// The member's value.
  public var value: JSONValue

  /// Pairs a name with a value.
  public init(_ name: String, _ value: JSONValue) {
    self.name = name
    self.value = value
  }
}

extension JSONValue {
  /// A number, as `integer` where it fits and `unsigned` where it does not.
  public init(_ value: UInt64) {
    if let signed = Int64(exactly: value) {
      self = .integer(signed)
    } else {
      self = .unsigned(value)
    }
  }

  /// A number, as `integer`.
  public init(_ value: Int) { self = .integer(Int64(value)) }

  /// A text.
  public init(_ value: String) { self = .string(value) }

  /// A truth value.
  public init(_ value: Bool) { self = .bool(value) }

  /// A list.
  public init(_ values: [JSONValue]) { self = .array(values) }
}

extension JSONValue: ExpressibleByNilLiteral, ExpressibleByBooleanLiteral,
  ExpressibleByIntegerLiteral, ExpressibleByFloatLiteral, ExpressibleByStringInterpolation,
  ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
  /// `null`.
  public init(nilLiteral: ()) { self = .null }
  /// A truth value.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  /// A whole number.
  public init(integerLiteral value: Int64) { self = .integer(value) }
  /// A number.
  public init(floatLiteral value: Double) { self = .number(value) }
  /// A text.
  public init(stringLiteral value: String) { self = .string(value) }
  /// A list.
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  /// An object with its members in the order of the literal.
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self = .object(elements.map { JSONMember($0.0, $0.1) })
  }
}
