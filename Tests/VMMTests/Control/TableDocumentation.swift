// The command table as the documentation shows it.

import QMP

/// Writes a table's commands, events and types as Markdown.
struct TableDocumentation {
  private var types: [String: String] = [:]

  /// The text for a table.
  static func text<Host>(of table: QMPCommandTable<Host>) -> String {
    var writer = TableDocumentation()
    var lines = ["### Commands", ""]
    for command in table.commands { lines += writer.entry(command) }
    lines += ["", "### Events", ""]
    for event in table.events {
      var text = "- `\(event.name)`: \(event.summary)"
      if !event.data.isEmpty { text += " Says \(writer.list(event.data))." }
      if let interval = event.interval { text += " At most one in \(interval)." }
      lines += wrapped(text)
    }
    lines += ["", "### Types", ""]
    for name in writer.types.keys.sorted() {
      lines += wrapped("- `\(name)`: \(writer.types[name] ?? "")")
    }
    return lines.joined(separator: "\n") + "\n"
  }

  private mutating func entry<Host>(_ command: QMPServedCommand<Host>) -> [String] {
    var text = "- `\(command.name)`: \(command.summary)"
    if !command.arguments.isEmpty { text += " Takes \(list(command.arguments))." }
    if command.returns != .nothing { text += " Answers \(name(of: command.returns))." }
    if command.isOutOfBandAllowed { text += " May be sent out of band." }
    if command.takesDescriptor { text += " A descriptor travels with it." }
    switch command.allowed {
    case .always: break
    case .only(let states, refusal: _):
      text += " Only in the run state \(states.map { "`\($0.rawValue)`" }.joined(separator: ", "))."
    case .except(let exceptions):
      let states = exceptions.map { "`\($0.state.rawValue)`" }.joined(separator: ", ")
      text += " Not in the run states \(states)."
    }
    return Self.wrapped(text)
  }

  private mutating func list(_ members: [QMPMember]) -> String {
    var words: [String] = []
    for member in members {
      words.append(
        "`\(member.name)`\(member.isOptional ? " (optional)" : "") \(name(of: member.type))")
    }
    return words.joined(separator: ", ")
  }

  private mutating func name(of type: QMPType) -> String {
    switch type {
    case .string: return "string"
    case .boolean: return "boolean"
    case .integer(.uint64): return "size"
    case .integer(.int64): return "integer"
    case .integer(let width): return width.rawValue
    case .number: return "number"
    case .null: return "null"
    case .any: return "any value"
    case .list(let element): return "list of \(name(of: element))"
    case .alternate(let name, let alternatives):
      types[name] = alternatives.map { self.name(of: $0) }.joined(separator: " or ")
      return "`\(name)`"
    case .enumeration(let enumeration):
      types[enumeration.name] = enumeration.words.map { "`\($0)`" }.joined(separator: ", ")
      return "`\(enumeration.name)`"
    case .object(let object):
      note(object)
      return "`\(object.name)`"
    }
  }

  private mutating func note(_ object: QMPObject) {
    var text = list(object.members)
    for variant in object.variants {
      let added = variant.object.tag == nil ? list(variant.object.members) : reference(variant)
      text += "; where `\(object.tag ?? "")` is `\(variant.word)`, also \(added)"
    }
    types[object.name] = text
  }

  private mutating func reference(_ variant: QMPObject.Variant) -> String {
    note(variant.object)
    return "what `\(variant.object.name)` has"
  }

  /// An item in lines of at most 100 columns.
  private static func wrapped(_ text: String) -> [String] {
    var lines: [String] = []
    var line = ""
    for word in text.split(separator: " ") {
      if line.isEmpty {
        line = lines.isEmpty ? String(word) : "  \(word)"
      } else if line.count + 1 + word.count > 100 {
        lines.append(line)
        line = "  \(word)"
      } else {
        line += " \(word)"
      }
    }
    return lines + [line]
  }
}
