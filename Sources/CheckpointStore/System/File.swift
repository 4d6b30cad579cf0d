// An open file: positioned reads and writes that finish, and the calls that make bytes durable.

import CLinux
import Glibc

/// An open file that closes itself; every method may be called from any thread.
final class File: Sendable {
  let path: String
  let descriptor: Int32

  private init(path: String, descriptor: Int32) {
    self.path = path
    self.descriptor = descriptor
  }

  deinit { close(descriptor) }

  /// Opens a file; `mode` counts when `flags` create it.
  static func open(
    _ path: String, _ flags: Int32, doing: String = "opening"
  ) throws(StoreError) -> File {
    while true {
      // SAFETY: the path is a NUL-terminated string for the length of the call.
      let descriptor = unsafe Glibc.open(path, flags | O_CLOEXEC, 0o600)
      if descriptor >= 0 { return File(path: path, descriptor: descriptor) }
      if errno != EINTR { throw .system(doing: doing, path: path, code: errno) }
    }
  }

  /// Opens a file for writes that pass the page cache by.
  ///
  /// Memory, offsets and lengths are multiples of 4096 then. Refused with `EOPNOTSUPP` where the
  /// file is in memory anyway.
  static func openDirect(_ path: String) throws(StoreError) -> File {
    let file = try open(path, O_WRONLY | godwit_file_direct())
    guard godwit_file_is_in_memory(file.descriptor) == 0 else {
      throw .system(doing: "opening past the page cache", path: path, code: EOPNOTSUPP)
    }
    return file
  }

  /// The file's length in bytes.
  func byteCount() throws(StoreError) -> UInt64 {
    UInt64(try status().st_size)
  }

  /// The bytes that the file takes on disk.
  func allocatedByteCount() throws(StoreError) -> UInt64 {
    UInt64(try status().st_blocks) * 512
  }

  /// Whether the file still has a name.
  func isLinked() throws(StoreError) -> Bool { try status().st_nlink > 0 }

  /// Whether a path leads to this very file.
  func isAt(_ path: String) throws(StoreError) -> Bool {
    let own = try status()
    var other = stat()
    // SAFETY: the path is a NUL-terminated string, `other` a whole struct stat.
    guard unsafe stat(path, &other) == 0 else { return false }
    return own.st_dev == other.st_dev && own.st_ino == other.st_ino
  }

  private func status() throws(StoreError) -> stat {
    var status = stat()
    // SAFETY: `status` is a whole struct stat.
    guard unsafe fstat(descriptor, &status) == 0 else {
      throw .system(doing: "asking for the length", path: path, code: errno)
    }
    return status
  }

  /// Reads until `destination` is full or the file ends.
  ///
  /// - Returns: the bytes read; less than asked for only at the end of the file.
  func read(into destination: inout MutableRawSpan, at offset: UInt64) throws(StoreError) -> Int {
    let count = destination.byteCount
    let code = unsafe destination.withUnsafeMutableBytes { buffer -> Int in
      guard let base = buffer.baseAddress else { return 0 }
      var done = 0
      while done < count {
        // SAFETY: done < count keeps the range inside the span.
        let got = unsafe pread(descriptor, base + done, count - done, off_t(offset) + off_t(done))
        if got == 0 { return done }
        if got < 0 {
          if errno == EINTR { continue }
          return -Int(errno)
        }
        done += got
      }
      return done
    }
    guard code >= 0 else { throw .system(doing: "reading", path: path, code: Int32(-code)) }
    return code
  }

  /// Reads `count` bytes, fewer at the end of the file.
  func read(count: Int, at offset: UInt64) throws(StoreError) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var span = bytes.mutableSpan
    // SAFETY: every byte pattern is a valid UInt8.
    var raw = unsafe span.mutableBytes
    let got = try read(into: &raw, at: offset)
    if got < count { bytes.removeLast(count - got) }
    return bytes
  }

  /// Writes all of `content`.
  func write(_ content: RawSpan, at offset: UInt64) throws(StoreError) {
    let count = content.byteCount
    let code = unsafe content.withUnsafeBytes { buffer -> Int32 in
      guard let base = buffer.baseAddress else { return 0 }
      var done = 0
      while done < count {
        // SAFETY: done < count keeps the range inside the span.
        let put = unsafe pwrite(descriptor, base + done, count - done, off_t(offset) + off_t(done))
        if put < 0 {
          if errno == EINTR { continue }
          return errno
        }
        if put == 0 { return ENOSPC }
        done += put
      }
      return 0
    }
    guard code == 0 else { throw .system(doing: "writing", path: path, code: code) }
  }

  /// Writes all of an array.
  func write(_ bytes: [UInt8], at offset: UInt64) throws(StoreError) {
    // SAFETY: the array outlives the call, and a UInt8 has no padding.
    let content = unsafe bytes.span.bytes
    try write(content, at: offset)
  }

  /// Sets the length; what is added reads as zeros and takes no blocks.
  func truncate(to byteCount: UInt64) throws(StoreError) {
    guard let length = off_t(exactly: byteCount), ftruncate(descriptor, length) == 0 else {
      throw .system(
        doing: "setting the length to \(byteCount)", path: path,
        code: off_t(exactly: byteCount) == nil ? EFBIG : errno)
    }
  }

  /// Takes the blocks of a range now, so that writing there cannot fail later for want of space; a
  /// file that is shorter grows.
  func allocate(_ range: Range<UInt64>) throws(StoreError) {
    guard !range.isEmpty else { return }
    let doing = "allocating \(range.count) bytes"
    guard let offset = Int64(exactly: range.lowerBound), let length = Int64(exactly: range.count)
    else { throw .system(doing: doing, path: path, code: EFBIG) }
    var code = godwit_file_allocate(descriptor, offset, length)
    while code == -EINTR { code = godwit_file_allocate(descriptor, offset, length) }
    if code == -EOPNOTSUPP && range.lowerBound == 0 { return try writeZeros(range.upperBound) }
    guard code == 0 else { throw .system(doing: doing, path: path, code: -code) }
  }

  /// Takes blocks where the file system has no call for it; only for files that are new.
  private func writeZeros(_ byteCount: UInt64) throws(StoreError) {
    let zeros = [UInt8](repeating: 0, count: 1 << 20)
    var offset: UInt64 = 0
    while offset < byteCount {
      let count = min(UInt64(zeros.count), byteCount - offset)
      try write(count == UInt64(zeros.count) ? zeros : Array(zeros.prefix(Int(count))), at: offset)
      offset += count
    }
  }

  /// Takes the blocks of the first `byteCount` bytes, as `allocate(_:)` does.
  func allocate(byteCount: UInt64) throws(StoreError) { try allocate(0..<byteCount) }

  /// Gives back the whole 4 KiB blocks inside a range; where holes are not known, does nothing.
  ///
  /// - Returns: the bytes given back.
  func punchHole(_ range: Range<UInt64>) throws(StoreError) -> UInt64 {
    let start = (range.lowerBound + 4095) & ~4095
    let end = range.upperBound & ~4095
    guard start < end else { return 0 }
    let code = godwit_file_punch_hole(descriptor, Int64(start), Int64(end - start))
    if code == -EOPNOTSUPP { return 0 }
    guard code == 0 else { throw .system(doing: "freeing a range", path: path, code: -code) }
    return end - start
  }

  /// Starts writing a range to the disk, so that the final sync finds little left to do.
  func startWriteback(_ range: Range<UInt64>) {
    // Only a hint: a failure to write shows at the sync.
    _ = godwit_file_start_writeback(
      descriptor, Int64(range.lowerBound), Int64(range.upperBound - range.lowerBound))
  }

  /// Makes everything written so far survive power loss.
  func sync() throws(StoreError) {
    while fdatasync(descriptor) != 0 {
      if errno != EINTR { throw .system(doing: "syncing", path: path, code: errno) }
    }
  }
}
