// VMStateDescription.swift: a device's state described once: to write, to describe, to read.

internal import Wire

/// The description of a state: its fields in order, its optional parts, its hooks.
///
/// One description gives the bytes on the wire, the entry of the stream's vmdescription, and the
/// reading back. It is used for a device's section, for structures within one, and for
/// subsections: parts after the fields that are only there where `needed` holds, each with a
/// version of its own.
///
/// ```swift
/// let description = VMStateDescription<Clock.State>(
///   name: "clock", version: 2, minimumVersion: 1,
///   fields: [
///     .uint8("control", \.control),
///     .timer("alarm", \.alarm),
///     .uint32("offset", \.offset).since(2),
///   ],
///   subsections: [
///     VMStateDescription(
///       name: "clock/history", version: 1, needed: { !$0.history.isEmpty },
///       fields: [.countedBuffer("history", \.history, count: "history_size", limit: 64)])
///   ])
/// ```
public struct VMStateDescription<State: Sendable>: Sendable {
  /// A hook that may change the state, or refuse it by an error.
  public typealias Hook = @Sendable (inout State) throws -> Void
  /// A hook that is also told the version that was read.
  public typealias LoadHook = @Sendable (inout State, _ version: Int) throws -> Void

  /// The name: of a device's section, a structure's type, or a subsection (`parent/part`).
  public let name: String
  /// The version that is written, and the newest that is read.
  public let version: Int
  /// The oldest version that is read.
  public let minimumVersion: Int
  /// Where in the machine's order the device stands.
  public let priority: VMStatePriority
  /// Why a device with this state cannot be saved, if it cannot.
  public let unmigratable: String?
  /// Whether the part is there; always, if `nil`.
  let needed: (@Sendable (State) -> Bool)?
  let fields: [VMStateField<State>]
  let subsections: [VMStateDescription<State>]
  private let preSave: Hook?
  private let postSave: (@Sendable (State) -> Void)?
  private let preLoad: Hook?
  private let postLoad: LoadHook?

  /// Describes a state.
  ///
  /// - Parameters:
  ///   - minimumVersion: the oldest version that is read; `version` itself if `nil`.
  ///   - needed: whether a subsection, or the section of a device, is written at all.
  ///   - subsections: named `name` + "/" + a name of their own.
  ///   - preSave: runs on a copy of the state before its fields are written.
  ///   - postSave: runs after the state is written.
  ///   - preLoad: runs on the blank state before its fields are read.
  ///   - postLoad: runs when fields and subsections are read; still nothing is applied.
  ///   - unmigratable: why a device with this state cannot be saved.
  public init(
    name: String, version: Int, minimumVersion: Int? = nil,
    priority: VMStatePriority = .device, needed: (@Sendable (State) -> Bool)? = nil,
    fields: [VMStateField<State>] = [], subsections: [VMStateDescription<State>] = [],
    preSave: Hook? = nil, postSave: (@Sendable (State) -> Void)? = nil, preLoad: Hook? = nil,
    postLoad: LoadHook? = nil, unmigratable: String? = nil
  ) {
    precondition(name.utf8.count <= VMStateFormat.nameSize, "a name of at most 255 bytes")
    precondition(version >= 0 && version <= Int(Int32.max), "a version that the format can say")
    precondition(
      subsections.allSatisfy { $0.name.hasPrefix(name + "/") && $0.needed != nil },
      "subsections that are named after \(name) and say when they are needed")
    precondition(
      Set(subsections.map(\.name)).count == subsections.count, "subsections of different names")
    self.name = name
    self.version = version
    self.minimumVersion = minimumVersion ?? version
    self.priority = priority
    self.needed = needed
    self.fields = fields
    self.subsections = subsections
    self.preSave = preSave
    self.postSave = postSave
    self.preLoad = preLoad
    self.postLoad = postLoad
    self.unmigratable = unmigratable
  }

  /// Whether the part is there in that state.
  func isNeeded(_ state: State) -> Bool { needed?(state) ?? true }

  /// Writes a state and returns its layout.
  func write(
    _ state: State, _ writer: inout VMStateWriter, version: Int
  ) throws(VMStateError) -> VMDescription.Structure {
    var state = state
    if let preSave {
      do { try preSave(&state) } catch {
        throw writer.place.refusal(error, of: "\(name) to be ready for saving")
      }
    }
    let outer = writer.beginStructure()
    for field in fields where field.isPresent(in: state, version: version) {
      try field.save(state, &writer)
    }
    let entries = writer.endStructure(outer)
    var parts: [VMDescription.Structure] = []
    for part in subsections where part.isNeeded(state) {
      writer.appendSubsectionHeader(name: part.name, version: part.version)
      writer.place.path.append(part.name)
      parts.append(try part.write(state, &writer, version: part.version))
      writer.place.path.removeLast()
    }
    postSave?(state)
    return VMDescription.Structure(
      name: name, version: version, fields: entries, subsections: parts)
  }

  /// Reads a state of the reader's version over `state`.
  func read(_ state: inout State, _ reader: inout VMStateReader) throws(VMStateError) {
    let version = reader.version
    if let preLoad {
      do { try preLoad(&state) } catch {
        throw reader.place.refusal(error, of: "\(name) to be ready for loading")
      }
    }
    for field in fields where field.isPresent(in: state, version: version) {
      try field.load(&state, &reader)
    }
    try readSubsections(&state, &reader)
    if let postLoad {
      do { try postLoad(&state, version) } catch {
        throw reader.place.refusal(error, of: "a state that \(name) can take")
      }
    }
  }

  private func readSubsections(
    _ state: inout State, _ reader: inout VMStateReader
  ) throws(VMStateError) {
    var seen: Set<String> = []
    while let header = try reader.peekSubsection(subsections.lazy.map(\.name)) {
      guard let part = subsections.first(where: { $0.name == header.name }) else {
        // What is not named after this structure belongs to the one around, or is no subsection.
        guard header.name.hasPrefix(name + "/") else { return }
        throw reader.error(
          .unexpectedSubsection, field: header.name, expected: "the subsections of \(name)",
          found: "\(header.name) of version \(header.version)")
      }
      guard seen.insert(part.name).inserted else {
        throw reader.error(
          .unexpectedSubsection, field: part.name, expected: "each subsection once",
          found: "it a second time")
      }
      reader.place.path.append(part.name)
      guard (part.minimumVersion...part.version).contains(header.version) else {
        throw reader.error(
          .unsupportedVersion, expected: part.readableVersions, found: "\(header.version)")
      }
      reader.skip(header.size)
      let outer = reader.version
      reader.version = header.version
      try part.read(&state, &reader)
      reader.version = outer
      reader.place.path.removeLast()
    }
  }

  /// The versions that are read, in words.
  var readableVersions: String {
    minimumVersion == version
      ? "version \(version)" : "a version from \(minimumVersion) to \(version)"
  }

  /// The paths of what `layout` has and this description lacks.
  func unknownParts(
    of layout: VMDescription.Structure, below path: String = ""
  ) -> [String] {
    var unknown: [String] = []
    for entry in layout.fields {
      let place = path.isEmpty ? entry.name : "\(path).\(entry.name)"
      guard let field = fields.first(where: { $0.names.contains(entry.name) }) else {
        unknown.append(place)
        continue
      }
      guard let compare = field.compare, let inner = entry.layouts.first else { continue }
      unknown += compare(inner, place)
    }
    for part in layout.subsections {
      let place = path.isEmpty ? part.name : "\(path).\(part.name)"
      if let known = subsections.first(where: { $0.name == part.name }) {
        unknown += known.unknownParts(of: part, below: place)
      } else {
        unknown.append(place)
      }
    }
    return unknown
  }
}
