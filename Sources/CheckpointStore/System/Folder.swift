// Folders and names: making, listing, removing, renaming.

import CLinux
import Glibc

/// Calls on names rather than on open files.
enum Folder {
  /// Makes a folder for this user alone, since guests' memory goes into it; one that is there
  /// already is as good.
  static func make(_ path: String) throws(StoreError) {
    // SAFETY: the path is a NUL-terminated string for the length of the call.
    guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else {
      throw .system(doing: "making the folder", path: path, code: errno)
    }
  }

  /// Makes a folder and those above it.
  static func makeWithParents(_ path: String) throws(StoreError) {
    if exists(path) { return }
    if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
      try makeWithParents(String(path[..<slash]))
    }
    try make(path)
  }

  /// Whether something has that name.
  static func exists(_ path: String) -> Bool {
    // SAFETY: the path is a NUL-terminated string for the length of the call.
    unsafe access(path, F_OK) == 0
  }

  /// The names in a folder, sorted, without `.` and `..`; none when there is no such folder.
  static func names(in path: String) throws(StoreError) -> [String] {
    // SAFETY: the path is a NUL-terminated string for the length of the call.
    guard let folder = unsafe opendir(path) else {
      if errno == ENOENT { return [] }
      throw .system(doing: "listing", path: path, code: errno)
    }
    // SAFETY: `folder` is open and closed once, here.
    defer { unsafe closedir(folder) }
    var names: [String] = []
    // SAFETY: an entry is valid until the next readdir on this stream; its name, which is
    // NUL-terminated, is copied at once.
    while let entry = unsafe readdir(folder) {
      let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { tuple in
        unsafe tuple.withMemoryRebound(to: CChar.self, capacity: 256) { name in
          unsafe String(cString: name)
        }
      }
      if name != "." && name != ".." { names.append(name) }
    }
    return names.sorted()
  }

  /// Removes a file; one that is gone already is as good.
  static func removeFile(_ path: String) throws(StoreError) {
    // SAFETY: the path is a NUL-terminated string for the length of the call.
    guard unsafe unlink(path) == 0 || errno == ENOENT else {
      throw .system(doing: "removing", path: path, code: errno)
    }
  }

  /// Removes a folder and the files in it (a store's folders are one level deep).
  static func remove(_ path: String) throws(StoreError) {
    for name in try names(in: path) { try removeFile(path + "/" + name) }
    // SAFETY: the path is a NUL-terminated string for the length of the call.
    guard unsafe rmdir(path) == 0 || errno == ENOENT else {
      throw .system(doing: "removing the folder", path: path, code: errno)
    }
  }

  /// Gives a file another name, replacing what had it, in one step.
  static func rename(_ old: String, to new: String) throws(StoreError) {
    // SAFETY: both paths are NUL-terminated strings for the length of the call.
    guard unsafe Glibc.rename(old, new) == 0 else {
      throw .system(doing: "renaming \(old)", path: new, code: errno)
    }
  }

  /// Makes the names in a folder survive power loss.
  static func sync(_ path: String) throws(StoreError) {
    try File.open(path, O_RDONLY | O_DIRECTORY).sync()
  }

  /// The bytes on disk of the files in a folder, and in the folders in it.
  static func allocatedByteCount(_ path: String, depth: Int = 2) throws(StoreError) -> UInt64 {
    var total: UInt64 = 0
    for name in try names(in: path) {
      var status = stat()
      // SAFETY: the path is a NUL-terminated string, `status` a whole struct stat.
      guard unsafe lstat(path + "/" + name, &status) == 0 else { continue }
      if status.st_mode & S_IFMT == S_IFDIR {
        if depth > 0 { total += try allocatedByteCount(path + "/" + name, depth: depth - 1) }
      } else {
        total += UInt64(status.st_blocks) * 512
      }
    }
    return total
  }

  /// Replaces a file's content in one step that survives power loss.
  static func replace(_ path: String, with bytes: [UInt8]) throws(StoreError) {
    let draft = path + ".\(getpid()).draft"
    do throws(StoreError) {
      let file = try File.open(draft, O_WRONLY | O_CREAT | O_TRUNC, doing: "making")
      try file.write(bytes, at: 0)
      try file.sync()
      try rename(draft, to: path)
    } catch {
      try? removeFile(draft)
      throw error
    }
    try sync(String(path[..<(path.lastIndex(of: "/") ?? path.startIndex)]))
  }
}
