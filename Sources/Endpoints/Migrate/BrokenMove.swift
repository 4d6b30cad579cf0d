// The settings of a move whose link broke, remembered until a recovery has brought it to its end.

import Foundation
import JSON
import QMP

/// What both ends of a broken postcopy were set to before it began.
///
/// Their settings are fixed while the migration lasts, so the process that broke off cannot put
/// them back. A small file says how they were, under the name of the source's process; the
/// recovery that ends the migration reads it and takes it away. Without it they stay as the move
/// needed them.
struct BrokenMove: Sendable, Equatable {
  /// One end's settings that were changed, as they were.
  struct End: Sendable, Equatable {
    var capabilities: [String: Bool]
    var parameters: [JSONMember]
  }

  var source: End
  var destination: End

  /// What two ends' settings were.
  init(_ source: MigrationSettings, _ destination: MigrationSettings) async {
    let (here, there) = (await source.originals, await destination.originals)
    self.init(
      source: End(capabilities: here.capabilities, parameters: here.parameters),
      destination: End(capabilities: there.capabilities, parameters: there.parameters))
  }

  init(source: End, destination: End) {
    self.source = source
    self.destination = destination
  }

  // MARK: - The file

  /// As it is written.
  var json: JSONValue { ["source": Self.json(source), "destination": Self.json(destination)] }

  /// Reads what was written; nil where it is something else.
  init?(_ value: JSONValue) {
    guard let source = Self.end(value["source"]), let destination = Self.end(value["destination"])
    else { return nil }
    self.init(source: source, destination: destination)
  }

  private static func json(_ end: End) -> JSONValue {
    let capabilities = end.capabilities.sorted { $0.key < $1.key }
      .map { JSONMember($0.key, .bool($0.value)) }
    return ["capabilities": .object(capabilities), "parameters": .object(end.parameters)]
  }

  private static func end(_ value: JSONValue?) -> End? {
    guard let capabilities = value?["capabilities"]?.members,
      let parameters = value?["parameters"]?.members
    else { return nil }
    var states: [String: Bool] = [:]
    for capability in capabilities {
      guard let state = capability.value.bool else { return nil }
      states[capability.name] = state
    }
    return End(capabilities: states, parameters: parameters)
  }

  private static let prefix = "godwit-move-"

  /// Where the file of a source's move is.
  static func file(of process: ProcessIdentity) -> URL {
    FileManager.default.temporaryDirectory
      .appendingPathComponent("\(prefix)\(process.pid)-\(process.startTicks)")
  }

  /// Takes the files of sources away that have ended: nobody recovers their moves any more.
  static func forgetEnded() {
    let files = FileManager.default
    let folder = files.temporaryDirectory
    for name in (try? files.contentsOfDirectory(atPath: folder.path)) ?? [] {
      guard name.hasPrefix(prefix) else { continue }
      let numbers = name.dropFirst(prefix.count).split(
        separator: "-", omittingEmptySubsequences: false
      )
      .map { UInt64($0) }
      guard numbers.count == 2, let pid = numbers[0].flatMap({ Int32(exactly: $0) }),
        let startTicks = numbers[1],
        !ProcessIdentity(pid: pid, startTicks: startTicks).isAlive
      else { continue }
      // Another user's stays: the folder lets nobody take away what is not theirs.
      try? files.removeItem(at: folder.appendingPathComponent(name))
    }
  }

  /// Writes the file for the move of the machine behind `client`.
  func remember(_ client: QMPClient, _ observer: MoveObserver) {
    Self.forgetEnded()
    guard let process = client.peerProcess.flatMap(ProcessIdentity.init(of:)) else { return }
    let path = Self.file(of: process).path
    // Made anew, and by nobody else: what it says will be set in a QEMU of this user's.
    try? FileManager.default.removeItem(atPath: path)
    let isWritten = FileManager.default.createFile(
      atPath: path, contents: Data(json.bytes()), attributes: [.posixPermissions: 0o600])
    if !isWritten {
      observer.note(
        "The migration settings of both ends will stay as the move needs them: \(path) cannot be "
          + "written.")
    }
  }

  /// Reads the file of a move and takes it away; nil where there is none of this user's.
  static func recall(_ process: ProcessIdentity) -> BrokenMove? {
    let file = file(of: process)
    let attributes = try? FileManager.default.attributesOfItem(atPath: file.path)
    guard (attributes?[.ownerAccountID] as? NSNumber)?.uint32Value == geteuid(),
      attributes?[.type] as? FileAttributeType == .typeRegular,
      let data = try? Data(contentsOf: file), let value = try? JSONValue(parsing: Array(data))
    else { return nil }
    try? FileManager.default.removeItem(at: file)
    return BrokenMove(value)
  }

  // MARK: - Putting back

  /// Puts the settings of both ends back as they were before the move that was now carried on.
  static func putBack(
    source: QMPClient, destination: QMPClient, _ observer: MoveObserver
  ) async {
    guard let process = source.peerProcess.flatMap(ProcessIdentity.init(of:)),
      let move = recall(process)
    else { return }
    for (client, end) in [(source, move.source), (destination, move.destination)] {
      do {
        if !end.parameters.isEmpty { try await client.setMigrationParameters(end.parameters) }
        if !end.capabilities.isEmpty {
          try await client.setMigrationCapabilities(end.capabilities)
        }
      } catch {
        observer.note(
          "Migration settings at \(client.address) stay as the move needed them: \(error)")
      }
    }
  }
}
