// VMStateField+Scalars.swift: fields of one value: integers, truth values, choices, timers.

internal import Wire

extension VMStateField {
  private static func scalar<T: VMStateScalar>(
    _ name: String, _ path: Path<T>
  ) -> Self {
    Self([name]) { (state, writer) throws(VMStateError) in
      writer.append(state[keyPath: path])
      writer.describe(
        VMDescription.Field(name: name, type: T.typeName, size: UInt64(T.byteCount)))
    } load: { (state, reader) throws(VMStateError) in
      state[keyPath: path] = try reader.next(T.self, name)
    }
  }

  /// One byte.
  public static func uint8(
    _ name: String, _ path: Path<UInt8>
  ) -> Self { scalar(name, path) }

  /// Two bytes.
  public static func uint16(
    _ name: String, _ path: Path<UInt16>
  ) -> Self { scalar(name, path) }

  /// Four bytes.
  public static func uint32(
    _ name: String, _ path: Path<UInt32>
  ) -> Self { scalar(name, path) }

  /// Eight bytes.
  public static func uint64(
    _ name: String, _ path: Path<UInt64>
  ) -> Self { scalar(name, path) }

  /// One byte, two's complement.
  public static func int8(
    _ name: String, _ path: Path<Int8>
  ) -> Self { scalar(name, path) }

  /// Two bytes, two's complement.
  public static func int16(
    _ name: String, _ path: Path<Int16>
  ) -> Self { scalar(name, path) }

  /// Four bytes, two's complement.
  public static func int32(
    _ name: String, _ path: Path<Int32>
  ) -> Self { scalar(name, path) }

  /// Eight bytes, two's complement.
  public static func int64(
    _ name: String, _ path: Path<Int64>
  ) -> Self { scalar(name, path) }

  /// A truth value: one byte, 0 or 1.
  public static func bool(
    _ name: String, _ path: Path<Bool>
  ) -> Self {
    Self([name]) { (state, writer) throws(VMStateError) in
      writer.append(state[keyPath: path] ? 1 as UInt8 : 0)
      writer.describe(VMDescription.Field(name: name, type: "bool", size: 1))
    } load: { (state, reader) throws(VMStateError) in
      let start = reader.offset
      let value = try reader.next(UInt8.self, name)
      guard value <= 1 else {
        throw reader.error(
          .invalidValue, field: name, at: start, expected: "0 or 1", found: "\(value)")
      }
      state[keyPath: path] = value == 1
    }
  }

  /// A choice: its raw value, which has to be one of the type's.
  public static func choice<T: RawRepresentable & Sendable>(
    _ name: String, _ path: Path<T>
  ) -> Self where T.RawValue: VMStateScalar {
    Self([name]) { (state, writer) throws(VMStateError) in
      writer.append(state[keyPath: path].rawValue)
      writer.describe(
        VMDescription.Field(
          name: name, type: T.RawValue.typeName, size: UInt64(T.RawValue.byteCount)))
    } load: { (state, reader) throws(VMStateError) in
      let start = reader.offset
      let raw = try reader.next(T.RawValue.self, name)
      guard let value = T(rawValue: raw) else {
        throw reader.error(
          .invalidValue, field: name, at: start, expected: "a value of \(T.self)",
          found: "\(raw)")
      }
      state[keyPath: path] = value
    }
  }

  /// A property of the machine itself: written, and on loading compared with the blank state's.
  public static func equal<T: VMStateScalar>(
    _ name: String, _ path: any KeyPath<State, T> & Sendable
  ) -> Self {
    Self([name]) { (state, writer) throws(VMStateError) in
      writer.append(state[keyPath: path])
      writer.describe(
        VMDescription.Field(name: name, type: T.typeName + " equal", size: UInt64(T.byteCount)))
    } load: { (state, reader) throws(VMStateError) in
      let start = reader.offset
      let value = try reader.next(T.self, name)
      let own = state[keyPath: path]
      guard value == own else {
        throw reader.error(
          .differentMachine, field: name, at: start, expected: "\(own), as in this machine",
          found: "\(value)")
      }
    }
  }

  /// When a timer expires, in nanoseconds of its clock, or `nil` if it does not run.
  ///
  /// Eight bytes; all ones for a timer that does not run, so that instant cannot be said.
  public static func timer(
    _ name: String, _ path: Path<UInt64?>
  ) -> Self {
    Self([name]) { (state, writer) throws(VMStateError) in
      writer.append(state[keyPath: path] ?? .max)
      writer.describe(VMDescription.Field(name: name, type: "timer", size: 8))
    } load: { (state, reader) throws(VMStateError) in
      let value = try reader.next(UInt64.self, name)
      state[keyPath: path] = value == .max ? nil : value
    }
  }
}
