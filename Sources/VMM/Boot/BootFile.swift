// Reading the files that a machine boots: the only system calls of booting.

import Glibc

/// A file that is read whole, because a guest's memory is about to hold it.
enum BootFile {
  /// Reads a file.
  ///
  /// - Parameters:
  ///   - path: where it is.
  ///   - limit: how many bytes it may have.
  /// - Throws: ``MachineError/boot(path:reason:)``.
  static func read(_ path: String, limit: Int) throws(MachineError) -> [UInt8] {
    func failed(_ reason: String) -> MachineError { .boot(path: path, reason: reason) }
    func failed(_ code: Int32) -> MachineError {
      // SAFETY: the text is copied at once.
      failed(unsafe strerror(code).map { unsafe String(cString: $0) } ?? "error \(code)")
    }
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
    guard descriptor >= 0 else { throw failed(errno) }
    defer { close(descriptor) }
    var status = stat()
    // SAFETY: the kernel fills the local.
    guard unsafe fstat(descriptor, &status) == 0 else { throw failed(errno) }
    guard status.st_mode & S_IFMT == S_IFREG else { throw failed("it is no regular file") }
    let size = Int(status.st_size)
    guard size > 0 else { throw failed("it is empty") }
    guard size <= limit else {
      throw failed("it has \(size) bytes, more than the \(limit) that it may have")
    }
    var code: Int32 = 0
    let bytes = unsafe [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
      while count < size {
        // SAFETY: `count` bytes are filled, and `size - count` more fit.
        let rest = unsafe UnsafeMutableBufferPointer(rebasing: buffer[count..<size])
        let got = unsafe Glibc.read(descriptor, rest.baseAddress, rest.count)
        if got < 0, errno == EINTR { continue }
        guard got > 0 else {
          code = got < 0 ? errno : EIO
          break
        }
        count += got
      }
    }
    guard code == 0 else { throw failed(code) }
    return bytes
  }
}
