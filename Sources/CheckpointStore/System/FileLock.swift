// Locks between processes (and between the stores of one process): flock on files of the store.

import Glibc

/// A lock that is held until it is released or its owner dies.
///
/// `flock` belongs to the open file, so two of these in one process exclude each other just as two
/// processes do, and the kernel lets go of a lock when its holder is killed.
final class FileLock: Sendable {
  enum Mode: Sendable { case shared, exclusive }

  private let file: File

  private init(_ file: File) { self.file = file }

  deinit { flock(file.descriptor, LOCK_UN) }

  /// Waits for the lock as long as it takes.
  static func wait(_ path: String, _ mode: Mode) throws(StoreError) -> FileLock {
    let file = try File.open(path, O_RDWR | O_CREAT, doing: "opening the lock")
    try wait(on: file, mode)
    return FileLock(file)
  }

  /// Takes the lock if it is free.
  static func attempt(_ path: String, _ mode: Mode) throws(StoreError) -> FileLock? {
    let file = try File.open(path, O_RDWR | O_CREAT, doing: "opening the lock")
    return try attempt(on: file, mode) ? FileLock(file) : nil
  }

  /// Waits for a lock on a file that is open already; it is let go when the file closes.
  static func wait(on file: File, _ mode: Mode) throws(StoreError) {
    while flock(file.descriptor, mode == .shared ? LOCK_SH : LOCK_EX) != 0 {
      if errno != EINTR { throw .system(doing: "locking", path: file.path, code: errno) }
    }
  }

  /// Locks a file that is open already if it is free; whether it was.
  static func attempt(on file: File, _ mode: Mode) throws(StoreError) -> Bool {
    while flock(file.descriptor, (mode == .shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0 {
      if errno == EWOULDBLOCK { return false }
      if errno != EINTR { throw .system(doing: "locking", path: file.path, code: errno) }
    }
    return true
  }
}
