// DeviceField.swift: what a device's section says, as a tree of named values.

/// A named part of a device's state.
public struct DeviceField: Equatable, Sendable {
  /// The name that QEMU gives it; of a subsection, the subsection's own.
  public var name: String
  /// The kind of its encoding as described (`uint32`, `timer`, `struct`), `subsection`, or
  /// `undescribed`.
  public var type: String
  /// Where it lies in the section's payload, counted from the payload's first byte.
  public var range: Range<Int>
  /// What it says.
  public var value: DeviceValue

  /// Makes a field.
  public init(name: String, type: String, range: Range<Int>, value: DeviceValue) {
    self.name = name
    self.type = type
    self.range = range
    self.value = value
  }
}

/// What a part of a device's state says.
public enum DeviceValue: Equatable, Sendable {
  /// A truth value.
  case bool(Bool)
  /// An integer without a sign.
  case unsigned(UInt64)
  /// An integer with a sign.
  case signed(Int64)
  /// A floating-point number.
  case real(Double)
  /// A timer's expiry in nanoseconds of its clock, or `nil` if it is not running.
  case timer(nanoseconds: UInt64?)
  /// Bytes that QEMU itself takes as such.
  case buffer([UInt8])
  /// Bits, bit i in word i/64 at i%64.
  case bitmap([UInt64])
  /// An element of an array of pointers that points nowhere.
  case null
  /// Equal elements, one after another: an array or a queue.
  case array([DeviceValue])
  /// Fields that belong together, subsections included.
  case structure([DeviceField])
  /// Bytes whose layout the description does not tell.
  case opaque([UInt8])
}

extension DeviceSection {
  /// The section's fields, decoded by its description.
  ///
  /// Every byte of the payload is in exactly one of them, in order: what the description does
  /// not tell, or tells wrongly, comes as opaque bytes.
  /// - Throws: `WireError` of kind `limitExceeded` if there are too many values.
  public func fields(limits: WireLimits = WireLimits()) throws(WireError) -> [DeviceField] {
    let bytes = Array(payload)
    return try bytes.withSpan { span throws(WireError) in
      var decoder = DeviceFieldDecoder(valuesLeft: limits.fieldCount)
      return try decoder.fields(span, layout)
    }
  }
}
