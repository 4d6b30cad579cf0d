// Guests that run and still wait for pages of a checkpoint, remembered across Godwit's own death.

import Foundation
import JSON
import QMP

/// A restore that has begun to run its guest and has not delivered all of its memory.
///
/// Kept as a small file beside the store from before the guest can run until its last page has
/// arrived. Should Godwit be killed meanwhile, `--recover` finds here which checkpoint the guest
/// needs, and `delete` refuses to take that checkpoint away.
struct PendingRestore: Sendable, Equatable {
  /// The checkpoint's name when the restore began.
  var checkpointName: String
  /// The checkpoint's identity, which no other checkpoint ever has.
  var checkpointID: String
  /// The QEMU's QMP address.
  var qmp: String
  /// The QEMU's process.
  var process: ProcessIdentity
  /// The QEMU's version.
  var version: QEMUVersion
  /// Page sizes of its RAM blocks where they are not 4 KiB, by block name.
  var pageSizes: [String: UInt64]
  /// Where the keeper of its monitor listens, if there is one.
  var keeperPath: String?
}

/// A process that cannot be mistaken for a later one with the same number.
struct ProcessIdentity: Sendable, Hashable {
  var pid: Int32
  /// When it started, in clock ticks since boot: field 22 of `/proc/PID/stat`.
  var startTicks: UInt64

  /// The process with this number now; nil if there is none on this host.
  init?(of pid: Int32) {
    guard let stat = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
      // The second field, the command's name, is in parentheses and may itself hold any byte.
      let nameEnd = stat.lastIndex(of: ")")
    else { return nil }
    let fields = stat[stat.index(after: nameEnd)...].split(separator: " ")
    // Fields from the third on; a zombie waits only to be reaped and runs nothing.
    guard fields.count > 19, fields[0] != "Z", let ticks = UInt64(fields[19]) else { return nil }
    self.pid = pid
    startTicks = ticks
  }

  init(pid: Int32, startTicks: UInt64) {
    self.pid = pid
    self.startTicks = startTicks
  }

  /// Whether this very process still runs.
  var isAlive: Bool { ProcessIdentity(of: pid) == self }
}

/// The pending restores of one store.
struct PendingRestores: Sendable {
  private let folder: URL

  /// Those beside the store at `storePath`.
  init(storePath: String) {
    folder = URL(fileURLWithPath: storePath).appendingPathComponent("restores", isDirectory: true)
  }

  /// Remembers a restore; one process waits for one checkpoint at most.
  func add(_ restore: PendingRestore) throws(MoveError) {
    let value: JSONValue = [
      "checkpoint": .string(restore.checkpointName), "id": .string(restore.checkpointID),
      "qmp": .string(restore.qmp), "pid": .integer(Int64(restore.process.pid)),
      "started": .init(restore.process.startTicks),
      "version": .array(
        [restore.version.major, restore.version.minor, restore.version.micro].map {
          .integer(Int64($0))
        }),
      "page-sizes": .object(
        restore.pageSizes.sorted { $0.key < $1.key }.map { JSONMember($0.key, .init($0.value)) }),
      "keeper": restore.keeperPath.map(JSONValue.string) ?? .null,
    ]
    do {
      try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
      try Data(value.bytes()).write(to: file(of: restore.process), options: .atomic)
    } catch {
      throw MoveError(
        .failed, "Cannot note the restore in \(folder.path): \(error.localizedDescription).")
    }
  }

  /// Forgets the restore into a process; it is over.
  func remove(_ process: ProcessIdentity) {
    try? FileManager.default.removeItem(at: file(of: process))
  }

  /// Restores whose QEMU still runs; records of those that ended are swept away.
  func all() -> [PendingRestore] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: folder.path)) ?? []
    return names.sorted().compactMap { name in
      let file = folder.appendingPathComponent(name)
      guard let data = try? Data(contentsOf: file),
        let restore = Self.decode(Array(data))
      else { return nil }
      guard restore.process.isAlive else {
        try? FileManager.default.removeItem(at: file)
        return nil
      }
      return restore
    }
  }

  /// The pending restore into a process, if there is one.
  func of(_ process: ProcessIdentity) -> PendingRestore? { all().first { $0.process == process } }

  /// The pending restore into the QEMU behind a monitor's address, if there is one.
  func at(qmp: String) -> PendingRestore? {
    let wanted = Self.canonical(qmp)
    return all().first { Self.canonical($0.qmp) == wanted }
  }

  private static func canonical(_ path: String) -> String {
    URL(fileURLWithPath: path).resolvingSymlinksInPath().path
  }

  private func file(of process: ProcessIdentity) -> URL {
    folder.appendingPathComponent("\(process.pid)-\(process.startTicks).json")
  }

  private static func decode(_ bytes: [UInt8]) -> PendingRestore? {
    guard let value = try? JSONValue(parsing: bytes),
      let name = value["checkpoint"]?.string, let id = value["id"]?.string,
      let qmp = value["qmp"]?.string,
      let pid = value["pid"]?.int64.flatMap(Int32.init(exactly:)),
      let started = value["started"]?.uint64,
      let version = value["version"]?.array?.compactMap(\.int), version.count == 3
    else { return nil }
    let pageSizes = (value["page-sizes"]?.members ?? []).compactMap { member in
      member.value.uint64.map { (member.name, $0) }
    }
    return PendingRestore(
      checkpointName: name, checkpointID: id, qmp: qmp,
      process: ProcessIdentity(pid: pid, startTicks: started),
      version: QEMUVersion(major: version[0], minor: version[1], micro: version[2]),
      pageSizes: Dictionary(pageSizes, uniquingKeysWith: { first, _ in first }),
      keeperPath: value["keeper"]?.string)
  }
}
