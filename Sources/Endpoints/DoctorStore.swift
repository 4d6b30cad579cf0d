// Where the store is, whether it can be written, and how much room there is.

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
    let place = exists ? path : "\(path), which the first save will make"
    return [DoctorFinding("store", .ok, place)] + [room(at: parent)].compactMap { $0 }
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
