// VMStateScalar.swift: the integers that a field can hold, and their names in descriptions.

/// An integer of fixed width: most significant byte first on the wire.
public protocol VMStateScalar: FixedWidthInteger, Sendable, BitwiseCopyable {
  /// The encoding's name in descriptions of device state (`uint32`).
  static var typeName: String { get }
}

extension UInt8: VMStateScalar {
  /// One byte.
  public static var typeName: String { "uint8" }
}
extension UInt16: VMStateScalar {
  /// Two bytes.
  public static var typeName: String { "uint16" }
}
extension UInt32: VMStateScalar {
  /// Four bytes.
  public static var typeName: String { "uint32" }
}
extension UInt64: VMStateScalar {
  /// Eight bytes.
  public static var typeName: String { "uint64" }
}
extension Int8: VMStateScalar {
  /// One byte, two's complement.
  public static var typeName: String { "int8" }
}
extension Int16: VMStateScalar {
  /// Two bytes, two's complement.
  public static var typeName: String { "int16" }
}
extension Int32: VMStateScalar {
  /// Four bytes, two's complement.
  public static var typeName: String { "int32" }
}
extension Int64: VMStateScalar {
  /// Eight bytes, two's complement.
  public static var typeName: String { "int64" }
}

extension VMStateScalar {
  /// The size on the wire in bytes.
  static var byteCount: Int { bitWidth / 8 }
}
