// Where the store is, who uses it, whether it can be written, and how much room there is.

import CheckpointStore
import Foundation

/// What `doctor` says about the store.
enum DoctorStore {
  static func findings(path: String) -> [DoctorFinding] {
    let files = FileManager.default
    let exists = files.fileExists(atPath: path)
    let parent = existingAncestor(of: path)
    // Only a folder has something by the name "." in it.
    guard !exists || files.fileExists(atPath: path + "/.") else {
      return [
        DoctorFinding(
          "store", .missing, "\(path) is not a folder",
          advice: "Name another place with --store or GODWIT_STORE.")
      ]
    }
    guard files.isWritableFile(atPath: parent) else {
      return [
        DoctorFinding(
          "store", .missing, "\(path) cannot be written: \(parent) is not this user's to write",
          advice: "Name another place with --store or GODWIT_STORE.")
      ]
    }
    var findings = [exists ? content(of: path) : absent(path)]
    if exists { findings += [use(of: path)] + waitingGuests(at: path) }
    return findings + [room(at: parent)].compactMap { $0 }
  }

  private static func absent(_ path: String) -> DoctorFinding {
    DoctorFinding("store", .ok, "\(path), which the first save will make")
  }

  private static func content(of path: String) -> DoctorFinding {
    do {
      let count = try Store.open(at: path, create: false).checkpoints().count
      return DoctorFinding("store", .ok, "\(path), checkpoints: \(count)")
    } catch {
      let isEmpty = (try? FileManager.default.contentsOfDirectory(atPath: path))?.isEmpty ?? false
      guard !isEmpty else { return absent(path) }
      return DoctorFinding(
        "store", .missing, "\(error)", advice: "Name another place with --store or GODWIT_STORE.")
    }
  }

  /// Who holds the store's locks: saves share one, a collect has it alone.
  private static func use(of path: String) -> DoctorFinding {
    let locks = (try? String(contentsOfFile: "/proc/locks", encoding: .utf8)) ?? ""
    let users = ["writers", "publish"].flatMap { name in
      holders(ofLock: inode(of: "\(path)/locks/\(name)"), in: locks)
    }
    guard !users.isEmpty else { return DoctorFinding("store use", .ok, "no save and no gc runs") }
    let list = Set(users).sorted().map { "process \($0)" }.joined(separator: ", ")
    return DoctorFinding("store use", .ok, "a save or gc runs: \(list)")
  }

  private static func inode(of path: String) -> UInt64? {
    let attributes = try? FileManager.default.attributesOfItem(atPath: path)
    return (attributes?[.systemFileNumber] as? NSNumber)?.uint64Value
  }

  /// The processes that hold a lock on a file, by the kernel's list: lines such as
  /// `1: FLOCK  ADVISORY  READ 1234 fe:00:5678 0 EOF`.
  static func holders(ofLock inode: UInt64?, in locks: String) -> [Int32] {
    guard let inode else { return [] }
    return locks.split(separator: "\n").compactMap { line in
      let words = line.split(separator: " ")
      guard words.count > 5, words[1] == "FLOCK", words[5].hasSuffix(":\(inode)") else {
        return nil
      }
      return Int32(words[4])
    }
  }

  private static func waitingGuests(at path: String) -> [DoctorFinding] {
    PendingRestores(storePath: path).all().map { restore in
      DoctorFinding(
        "waiting guest", .limited,
        "the guest at \(restore.qmp) still needs pages of '\(restore.checkpointName)'",
        advice: "If no restore runs for it: godwit restore \(restore.checkpointName) "
          + "--qmp \(restore.qmp) --recover")
    }
  }

  private static func room(at folder: String) -> DoctorFinding? {
    let attributes = try? FileManager.default.attributesOfFileSystem(forPath: folder)
    guard let free = (attributes?[.systemFreeSize] as? NSNumber)?.uint64Value else { return nil }
    let message = "\(free >> 30) GiB free for the store"
    guard free >= 1 << 30 else {
      return DoctorFinding(
        "room", .limited, "\(free >> 20) MiB free for the store",
        advice: "Delete checkpoints and run godwit gc, or move the store.")
    }
    return DoctorFinding("room", .ok, message)
  }

  /// The path itself where it exists, else the nearest folder above it that does.
  private static func existingAncestor(of path: String) -> String {
    var url = URL(fileURLWithPath: path)
    while !FileManager.default.fileExists(atPath: url.path), url.path != "/" {
      url.deleteLastPathComponent()
    }
    return url.path
  }
}
