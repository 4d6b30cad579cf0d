// The byte code in which ACPI names devices: the few operations that ours need.

/// A term of ACPI's machine language, encoded.
struct AML: Sendable {
  let bytes: [UInt8]

  private init(_ bytes: [UInt8]) {
    self.bytes = bytes
  }

  /// Several terms, one after the other.
  static func list(_ terms: [AML]) -> AML {
    AML(terms.flatMap(\.bytes))
  }

  /// `Scope (name) { terms }`.
  static func scope(_ name: String, _ terms: [AML]) -> AML {
    AML([0x10] + package(encoded(name) + list(terms).bytes))
  }

  /// `Device (name) { terms }`.
  static func device(_ name: String, _ terms: [AML]) -> AML {
    AML([0x5B, 0x82] + package(encoded(name) + list(terms).bytes))
  }

  /// `Name (name, value)`.
  static func name(_ name: String, _ value: AML) -> AML {
    AML([0x08] + encoded(name) + value.bytes)
  }

  static func text(_ text: String) -> AML {
    AML([0x0D] + [UInt8](text.utf8) + [0])
  }

  static func number(_ number: UInt8) -> AML {
    AML([0x0A, number])
  }

  /// `Package () { terms }`.
  static func package(_ terms: [AML]) -> AML {
    AML([0x12] + package([UInt8(terms.count)] + list(terms).bytes))
  }

  /// `ResourceTemplate () { Memory32Fixed, Interrupt (level, active high) }`.
  static func resources(memory: UInt32, byteCount: UInt32, interrupt: UInt32) -> AML {
    var template = LittleEndianBytes([0x86, 0x09, 0x00, 0x01])
    template.append(memory)
    template.append(byteCount)
    template.append([0x89, 0x06, 0x00, 0x01, 0x01])
    template.append(interrupt)
    template.append([0x79, 0x00])
    let count = UInt8(template.count)
    return AML([0x11] + package([0x0A, count] + template.bytes))
  }

  /// A name of four letters, behind a backslash where it is absolute.
  private static func encoded(_ name: String) -> [UInt8] { [UInt8](name.utf8) }

  /// Content behind its length, which counts itself: one byte below 64, else up to four.
  private static func package(_ content: [UInt8]) -> [UInt8] {
    if content.count + 1 < 64 { return [UInt8(content.count + 1)] + content }
    let extra = content.count + 2 < 1 << 12 ? 1 : 2
    let length = content.count + 1 + extra
    var bytes = [UInt8(extra << 6 | length & 15)]
    for index in 0..<extra {
      bytes.append(UInt8(truncatingIfNeeded: length >> (4 + 8 * index)))
    }
    return bytes + content
  }
}
