// The schema that `query-qmp-schema` answers, made from the table. Types are numbered, as QEMU does
// it: clients are to go by the shape of a type, not by its name.

import JSON
import Synchronization

/// Numbers types while it lists them.
struct QMPSchemaWriter {
  /// What the schema says of a command.
  struct Command {
    var name: String
    var arguments: [QMPMember]
    var returns: QMPType
    var isOutOfBandAllowed: Bool

    /// Refuses arguments that do not fit.
    func check(_ given: JSONValue) throws(QMPRefusal) {
      try QMPObject(name, arguments).check(given, at: "")
    }
  }

  private var entries: [JSONValue] = []
  private var objects: [(object: QMPObject, name: String)] = []
  private var enumerations: [(words: [String], name: String)] = []
  private var lists: Set<String> = []
  private var alternates: [(types: [QMPType], name: String)] = []
  private var builtins: Set<String> = []
  private var typeCount = 0

  /// The whole schema.
  static func schema(commands: [Command], events: [QMPServedEvent]) -> JSONValue {
    var writer = QMPSchemaWriter()
    var entities: [JSONValue] = []
    for command in commands + [capabilities] {
      let arguments = writer.name(of: QMPObject(command.name, command.arguments))
      var entry: [JSONMember] = [
        JSONMember("name", .string(command.name)), JSONMember("meta-type", "command"),
        JSONMember("arg-type", .string(arguments)),
        JSONMember("ret-type", .string(writer.name(of: command.returns))),
      ]
      if command.isOutOfBandAllowed { entry.append(JSONMember("allow-oob", true)) }
      entities.append(.object(entry))
    }
    for event in events {
      entities.append([
        "name": .string(event.name), "meta-type": "event",
        "arg-type": .string(writer.name(of: QMPObject(event.name, event.data))),
      ])
    }
    return .array(entities + writer.entries)
  }

  /// `qmp_capabilities`, which the session itself carries out.
  static let capabilities = Command(
    name: "qmp_capabilities",
    arguments: [
      .optional("enable", .list(.enumeration(QMPEnumeration("QMPCapability", ["oob"]))))
    ], returns: .nothing, isOutOfBandAllowed: false)

  /// What an entry of the schema looks like to one that reads it.
  static let entryType: QMPObject = {
    let member = QMPObject(
      "SchemaInfoObjectMember",
      [.required("name", .string), .required("type", .string), .optional("default", .any)])
    let enumMember = QMPObject("SchemaInfoEnumMember", [.required("name", .string)])
    let variant = QMPObject(
      "SchemaInfoObjectVariant", [.required("case", .string), .required("type", .string)])
    let alternate = QMPObject("SchemaInfoAlternateMember", [.required("type", .string)])
    let kinds = QMPEnumeration(
      "SchemaMetaType",
      ["builtin", "enum", "array", "object", "alternate", "command", "event"])
    let plain = QMPEnumeration(
      "JSONType",
      ["string", "number", "int", "boolean", "null", "object", "array", "value"])
    return QMPObject(
      "SchemaInfo", [.required("name", .string), .required("meta-type", .enumeration(kinds))],
      tag: "meta-type",
      variants: [
        .init("builtin", [.required("json-type", .enumeration(plain))]),
        .init(
          "enum",
          [.required("members", .list(.object(enumMember))), .required("values", .list(.string))]),
        .init("array", [.required("element-type", .string)]),
        .init(
          "object",
          [
            .required("members", .list(.object(member))), .optional("tag", .string),
            .optional("variants", .list(.object(variant))),
          ]),
        .init("alternate", [.required("members", .list(.object(alternate)))]),
        .init(
          "command",
          [
            .required("arg-type", .string), .required("ret-type", .string),
            .optional("allow-oob", .boolean),
          ]),
        .init("event", [.required("arg-type", .string)]),
      ])
  }()

  private mutating func name(of type: QMPType) -> String {
    switch type {
    case .string: return builtin("str", "string")
    case .boolean: return builtin("bool", "boolean")
    case .integer: return builtin("int", "int")
    case .number: return builtin("number", "number")
    case .null: return builtin("null", "null")
    case .any: return builtin("any", "value")
    case .list(let element):
      let elementName = name(of: element)
      let name = "[\(elementName)]"
      if lists.insert(name).inserted {
        entries.append([
          "name": .string(name), "meta-type": "array", "element-type": .string(elementName),
        ])
      }
      return name
    case .enumeration(let enumeration): return name(of: enumeration)
    case .object(let object): return name(of: object)
    case .alternate(_, let types): return name(ofAlternate: types)
    }
  }

  private mutating func builtin(_ name: String, _ kind: String) -> String {
    if builtins.insert(name).inserted {
      entries.append([
        "name": .string(name), "meta-type": "builtin", "json-type": .string(kind),
      ])
    }
    return name
  }

  private mutating func nextName() -> String {
    defer { typeCount += 1 }
    return String(typeCount)
  }

  private mutating func name(of enumeration: QMPEnumeration) -> String {
    if let known = enumerations.first(where: { $0.words == enumeration.words }) {
      return known.name
    }
    let name = nextName()
    enumerations.append((enumeration.words, name))
    entries.append([
      "name": .string(name), "meta-type": "enum",
      "members": .array(enumeration.words.map { ["name": .string($0)] }),
      "values": .array(enumeration.words.map { .string($0) }),
    ])
    return name
  }

  private mutating func name(ofAlternate types: [QMPType]) -> String {
    if let known = alternates.first(where: { $0.types == types }) { return known.name }
    let name = nextName()
    alternates.append((types, name))
    let members = types.map { type -> JSONValue in ["type": .string(self.name(of: type))] }
    entries.append([
      "name": .string(name), "meta-type": "alternate", "members": .array(members),
    ])
    return name
  }

  private mutating func name(of object: QMPObject) -> String {
    if let known = objects.first(where: { Self.areAlike($0.object, object) }) { return known.name }
    let name = nextName()
    objects.append((object, name))
    var entry: [JSONMember] = [
      JSONMember("name", .string(name)), JSONMember("meta-type", "object"),
      JSONMember("members", .array(object.members.map { self.entry(of: $0) })),
    ]
    if let tag = object.tag {
      entry.append(JSONMember("tag", .string(tag)))
      entry.append(JSONMember("variants", .array(variants(of: object))))
    }
    entries.append(.object(entry))
    return name
  }

  /// Names do not show, so objects that differ in name alone are one type.
  private static func areAlike(_ left: QMPObject, _ right: QMPObject) -> Bool {
    left.members == right.members && left.tag == right.tag && left.variants == right.variants
  }

  private mutating func entry(of member: QMPMember) -> JSONValue {
    var entry: [JSONMember] = [
      JSONMember("name", .string(member.name)),
      JSONMember("type", .string(name(of: member.type))),
    ]
    if member.isOptional { entry.append(JSONMember("default", .null)) }
    return .object(entry)
  }

  /// A variant for every word of the tag, as the format has it; most may be of the empty type.
  private mutating func variants(of object: QMPObject) -> [JSONValue] {
    let tag = object.members.first { $0.name == object.tag }
    guard case .enumeration(let words) = tag?.type else { return [] }
    return words.words.map { word in
      let added = object.variants.first { $0.word == word }?.object ?? QMPObject(word, [])
      return ["case": .string(word), "type": .string(name(of: added))]
    }
  }
}

/// The schema on its way to the command that answers it, which it describes too.
final class QMPSchemaBox: Sendable {
  private let stored = Mutex(JSONValue.null)

  var value: JSONValue {
    get { stored.withLock { $0 } }
    set { stored.withLock { $0 = newValue } }
  }
}
