// A device's decoded state as an indented tree, or as JSON.

import JSON
import Wire

/// Renders fields, a line each, their parts indented below them.
struct FieldTree {
  /// The lines so far.
  private(set) var lines: [String] = []

  /// The tree of these fields, indented by one step.
  init(_ fields: [DeviceField]) {
    add(fields, depth: 1)
  }

  private mutating func add(_ fields: [DeviceField], depth: Int) {
    let width = fields.map(\.name.count).max() ?? 0
    for field in fields {
      let kind = field.type == "subsection" ? " (subsection)" : ""
      add(field.name + kind, field.value, width: width, depth: depth)
    }
  }

  private mutating func add(_ name: String, _ value: DeviceValue, width: Int, depth: Int) {
    let indentation = String(repeating: "  ", count: depth)
    switch value {
    case .structure(let fields):
      lines.append(indentation + name)
      add(fields, depth: depth + 1)
    case .array(let elements) where elements.contains(where: \.hasParts):
      lines.append(indentation + name)
      for (index, element) in elements.enumerated() {
        add("[\(index)]", element, width: 0, depth: depth + 1)
      }
    default:
      let padding = String(repeating: " ", count: max(width - name.count, 0))
      lines.append("\(indentation)\(name)\(padding)  \(value.text)")
    }
  }
}

extension DeviceValue {
  /// Whether it takes lines of its own.
  fileprivate var hasParts: Bool {
    switch self {
    case .structure: true
    case .array(let elements): elements.contains(where: \.hasParts)
    default: false
    }
  }

  /// The value on one line.
  var text: String {
    switch self {
    case .bool(let value): value ? "true" : "false"
    case .unsigned(let value): Self.number(value)
    case .signed(let value): value < 0 ? "\(value)" : Self.number(value.magnitude)
    case .real(let value): "\(value)"
    case .timer(let nanoseconds): nanoseconds.map { "at \($0) ns" } ?? "not running"
    case .buffer(let bytes), .opaque(let bytes): Self.bytes(bytes)
    case .bitmap(let words):
      "\(words.reduce(0) { $0 + $1.nonzeroBitCount }) of \(words.count * 64) bits set"
    case .null: "none"
    case .array(let elements): Self.list(elements)
    case .structure(let fields): "\(fields.count) fields"
    }
  }

  /// Small numbers as they are; larger ones, which are mostly addresses and masks, in both bases.
  private static func number(_ value: UInt64) -> String {
    value < 10 ? "\(value)" : "0x\(String(value, radix: 16)) (\(value))"
  }

  /// A list with runs of equal elements drawn together, cut where it gets long.
  private static func list(_ elements: [DeviceValue]) -> String {
    var parts: [String] = []
    var index = 0
    while index < elements.count {
      guard parts.count < 16 else {
        parts.append("… \(elements.count - index) more")
        break
      }
      let end = elements[index...].firstIndex { $0 != elements[index] } ?? elements.count
      let text = elements[index].text
      parts.append(end - index > 1 ? "\(end - index) × \(text)" : text)
      index = end
    }
    return "[\(parts.joined(separator: ", "))]"
  }

  /// Text where it is text, else hexadecimal, cut where it gets long.
  private static func bytes(_ bytes: [UInt8]) -> String {
    let size = Units.count(UInt64(bytes.count), "byte")
    guard let last = bytes.lastIndex(where: { $0 != 0 }) else {
      return bytes.isEmpty ? "no bytes" : "\(size), all zero"
    }
    let content = bytes[...last]
    if content.count > 2, content.allSatisfy({ (0x20..<0x7F).contains($0) }) {
      return "\"\(String(decoding: content, as: UTF8.self))\" (\(size))"
    }
    let shown = bytes.prefix(24).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
    return shown.joined(separator: " ") + (bytes.count > 24 ? " … (\(size))" : "")
  }

  /// The value as JSON: numbers as numbers, bytes in hexadecimal, whole.
  var json: JSONValue {
    switch self {
    case .bool(let value): .bool(value)
    case .unsigned(let value): JSONValue(value)
    case .signed(let value): .integer(value)
    case .real(let value): .number(value)
    case .timer(let nanoseconds): nanoseconds.map { JSONValue($0) } ?? .null
    case .buffer(let bytes), .opaque(let bytes):
      .string(bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined())
    case .bitmap(let words): .array(words.map { JSONValue($0) })
    case .null: .null
    case .array(let elements): .array(elements.map(\.json))
    case .structure(let fields): .array(fields.map(\.json))
    }
  }
}

extension DeviceField {
  /// The field with its place in the section's payload.
  var json: JSONValue {
    .object([
      JSONMember("name", .string(name)), JSONMember("type", .string(type)),
      JSONMember("offset", JSONValue(range.lowerBound)),
      JSONMember("bytes", JSONValue(range.count)),
      JSONMember("value", value.json),
    ])
  }
}
