// DeviceFieldDecoder+Scalars.swift: the encodings that the description knows by a name.

extension DeviceFieldDecoder {
  /// The value of a simple encoding, or `nil` if `type` is none or `bytes` is not of its size.
  static func scalar(_ type: String, _ bytes: RawSpan) -> DeviceValue? {
    switch type {
    case "buffer", "unused_buffer", "pci config": return .buffer(bytes.array())
    case "bitmap": return bitmap(bytes)
    case "bool":
      guard bytes.byteCount == 1, bytes.byte(at: 0) <= 1 else { return nil }
      return .bool(bytes.byte(at: 0) == 1)
    case "nullptr":
      return bytes.byteCount == 1 && bytes.byte(at: 0) == UInt8(ascii: "0") ? .null : nil
    case "timer":
      guard bytes.byteCount == 8 else { return nil }
      let value = bytes.bigEndian(at: 0, as: UInt64.self)
      return .timer(nanoseconds: value == .max ? nil : value)
    case "CPU_Double_U", "float64":
      guard bytes.byteCount == 8 else { return nil }
      return .real(Double(bitPattern: bytes.bigEndian(at: 0, as: UInt64.self)))
    case "float32":
      guard bytes.byteCount == 4 else { return nil }
      return .real(Double(Float(bitPattern: bytes.bigEndian(at: 0, as: UInt32.self))))
    default: return integer(type, bytes)
    }
  }

  /// An integer: `uint8` to `int64`, also with a remark behind a space (`int32 equal`).
  private static func integer(_ type: String, _ bytes: RawSpan) -> DeviceValue? {
    switch type.prefix(while: { $0 != " " }) {
    case "uint8", "float16", "uint16", "uint32", "uint64":
      return unsigned(bytes).map { .unsigned($0) }
    case "int8", "int16", "int32", "int64":
      guard let value = unsigned(bytes) else { return nil }
      let unused = UInt64(64 - bytes.byteCount * 8)
      return .signed(Int64(bitPattern: value << unused) >> Int64(unused))
    default: return nil
    }
  }

  private static func unsigned(_ bytes: RawSpan) -> UInt64? {
    switch bytes.byteCount {
    case 1: UInt64(bytes.byte(at: 0))
    case 2: UInt64(bytes.bigEndian(at: 0, as: UInt16.self))
    case 4: UInt64(bytes.bigEndian(at: 0, as: UInt32.self))
    case 8: bytes.bigEndian(at: 0, as: UInt64.self)
    default: nil
    }
  }

  private static func bitmap(_ bytes: RawSpan) -> DeviceValue? {
    guard bytes.byteCount % 8 == 0 else { return nil }
    var words: [UInt64] = []
    for offset in stride(from: 0, to: bytes.byteCount, by: 8) {
      words.append(bytes.bigEndian(at: offset, as: UInt64.self))
    }
    return .bitmap(words)
  }
}

extension VMDescription.Field {
  /// The name, with the element's place in its array where the elements are described singly.
  var displayName: String {
    index.map { "\(name)[\($0)]" } ?? name
  }
}
