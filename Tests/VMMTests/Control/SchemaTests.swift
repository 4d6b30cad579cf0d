// The command table against its documentation, and against what QEMUs say of the same commands.

import Foundation
import JSON
import QEMULab
import QMP
import Testing

@testable import VMM

@Suite struct SchemaTests {
  static let page = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
    .appendingPathComponent("../../../Docs/Machine-QMP.md").standardizedFileURL
  static let beginning = "<!-- The command table, written by its test: begin -->\n"
  static let end = "<!-- end -->"
  /// Has the page written anew where it is set.
  static let environmentName = "GODWIT_WRITE_DOCS"

  @Test func `the page on the machine's QMP says what the table says`() throws {
    let text = try String(contentsOf: Self.page, encoding: .utf8)
    let start = try #require(text.range(of: Self.beginning)).upperBound
    let end = try #require(text.range(of: Self.end, range: start..<text.endIndex)).lowerBound
    let table = "\n" + TableDocumentation.text(of: MachineMonitor.table) + "\n"
    if ProcessInfo.processInfo.environment[Self.environmentName] != nil {
      let whole = text[..<start] + table + text[end...]
      try String(whole).write(to: Self.page, atomically: true, encoding: .utf8)
    } else {
      let isEqual = text[start..<end] == table
      #expect(isEqual, "run this test with \(Self.environmentName)=1 and commit the page")
    }
  }

  @Test func `the schema is of the format that it describes itself in`() throws {
    let call = QMPCall(command: "query-qmp-schema", descriptors: QMPDescriptorNames())
    let monitor = MachineMonitor(of: ScriptedMachine())
    let schema = try MachineMonitor.table.answer(call, for: monitor)
    try MachineMonitor.table["query-qmp-schema"]?.returns.check(schema, at: "schema")
    #expect(QMPSchema(schema).command("migrate", takes: "resume"))
    // A few kilobytes of text, not QEMU's hundreds.
    #expect(schema.bytes().count < 64 << 10)
  }

  @Test(
    .enabled(if: !QEMU.all(.x86_64).isEmpty, "no qemu-system-x86_64 on PATH or in GODWIT_QEMU"),
    arguments: QEMU.all(.x86_64))
  func `what the table has, QEMU has too, in the same shape`(qemu: QEMU) throws {
    let guest = try LabGuest(
      LabConfiguration(qemu, machine: "pc", memoryMegabytes: 32), isPaused: true)
    let call = QMPCall(command: "query-qmp-schema", descriptors: QMPDescriptorNames())
    let monitor = MachineMonitor(of: ScriptedMachine())
    let comparison = SchemaComparison(
      ours: try MachineMonitor.table.answer(call, for: monitor),
      theirs: try guest.qmp.execute("query-qmp-schema"),
      // An older QEMU has less.
      isWhole: qemu.version >= QEMU.Version(10, 0))
    #expect(comparison.differences().joined(separator: "\n") == "")
  }
}

/// Finds where a client that was written for one schema would be surprised by another.
struct SchemaComparison {
  private let ours: [String: JSONValue]
  private let theirs: [String: JSONValue]
  private let isWhole: Bool

  init(ours: JSONValue, theirs: JSONValue, isWhole: Bool) {
    func named(_ schema: JSONValue) -> [String: JSONValue] {
      Dictionary(
        (schema.array ?? []).map { ($0["name"]?.string ?? "", $0) }, uniquingKeysWith: { $1 })
    }
    self.ours = named(ours)
    self.theirs = named(theirs)
    self.isWhole = isWhole
  }

  /// Every difference, as the place where it is and what it is.
  func differences() -> [String] {
    var found: [String] = []
    for (name, entry) in ours.sorted(by: { $0.key < $1.key }) {
      guard let kind = entry["meta-type"]?.string, ["command", "event"].contains(kind) else {
        continue
      }
      guard let other = theirs[name] else {
        if isWhole { found.append("\(name): QEMU does not have it") }
        continue
      }
      if entry["allow-oob"] != other["allow-oob"] { found.append("\(name): out of band") }
      found += compare(entry["arg-type"], other["arg-type"], "\(name) takes", kind == "command")
      if kind == "command" {
        found += compare(entry["ret-type"], other["ret-type"], "\(name) answers", false)
      }
    }
    return found
  }

  /// - Parameter isTaken: whether values of the type go to the server; it may ask for no more
  ///   than QEMU then, and else must say no less.
  private func compare(
    _ ourName: JSONValue?, _ theirName: JSONValue?, _ place: String, _ isTaken: Bool
  ) -> [String] {
    guard let our = ourName?.string.flatMap({ ours[$0] }),
      let their = theirName?.string.flatMap({ theirs[$0] })
    else { return ["\(place): a type is missing"] }
    guard our["meta-type"] == their["meta-type"] else {
      return ["\(place): \(our["meta-type"] ?? .null), not \(their["meta-type"] ?? .null)"]
    }
    switch our["meta-type"] {
    case "builtin":
      return our["json-type"] == their["json-type"]
        ? [] : ["\(place): \(our["json-type"] ?? .null), not \(their["json-type"] ?? .null)"]
    case "array":
      return compare(our["element-type"], their["element-type"], place + "[]", isTaken)
    case "enum":
      let known = their["values"]?.array ?? []
      // What is ours alone says so, as QEMU's own experiments do.
      let surplus = (our["values"]?.array ?? []).filter {
        !known.contains($0) && $0.string?.hasPrefix("x-") != true
      }
      return surplus.isEmpty || !isWhole ? [] : ["\(place): QEMU has no \(surplus)"]
    case "object": return compare(our, their, place, isTaken)
    default: return []
    }
  }

  private func compare(
    _ our: JSONValue, _ their: JSONValue, _ place: String, _ isTaken: Bool
  ) -> [String] {
    let ourMembers = our["members"]?.array ?? [], theirMembers = their["members"]?.array ?? []
    var found: [String] = []
    for member in ourMembers {
      let name = member["name"]?.string ?? ""
      guard let other = theirMembers.first(where: { $0["name"]?.string == name }) else {
        // What is ours alone says so, as QEMU's own experiments do; or it is said only where a
        // capability of ours is on.
        if isWhole, !name.hasPrefix("x-"), name != "known-pages" {
          found.append("\(place).\(name): QEMU does not have it")
        }
        continue
      }
      found += compare(member["type"], other["type"], "\(place).\(name)", isTaken)
      if isTaken, member["default"] == nil, other["default"] != nil {
        found.append("\(place).\(name): optional in QEMU")
      }
    }
    // What QEMU has since given up saying is not missed.
    for member in theirMembers where isWhole && !isTaken && member["default"] == nil {
      let name = member["name"]?.string ?? ""
      let mine = ourMembers.first { $0["name"]?.string == name }
      if mine == nil { found.append("\(place).\(name): QEMU always says it") }
      if let mine, mine["default"] != nil { found.append("\(place).\(name): optional here") }
    }
    for variant in our["variants"]?.array ?? [] {
      let other = their["variants"]?.array?.first { $0["case"] == variant["case"] }
      let word = variant["case"]?.string ?? ""
      if other == nil, isWhole { found.append("\(place): QEMU has no case \(word)") }
      if let other { found += compare(variant["type"], other["type"], "\(place)=\(word)", isTaken) }
    }
    return found
  }
}
