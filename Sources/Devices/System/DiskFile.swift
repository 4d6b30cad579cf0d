// A raw disk image: a file or block device, read and written straight out of guest memory.

import CLinux
import Glibc
import GuestMemory
import Synchronization
import Transport

/// An opened disk image.
final class DiskFile: Sendable {
  static let sectorByteCount = 512

  let path: String
  let isReadOnly: Bool
  /// Its size in sectors of 512 bytes.
  let sectorCount: UInt64
  /// Whether blocks can be given back to the file system.
  let canDiscard: Bool
  private let descriptor: OwnedDescriptor
  private let hasUnflushed = Atomic<Bool>(false)

  /// Opens an image; it stays as long as it is.
  init(path: String, isReadOnly: Bool) throws(DeviceError) {
    let action = "Opening the disk image '\(path)'"
    let flags = (isReadOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC
    // SAFETY: the path is a terminated string for the duration of the call.
    let number = SystemErrors.repeating { Int(unsafe open(path, flags)) }
    guard number >= 0 else { throw .system(doing: action, code: Int32(-number)) }
    descriptor = OwnedDescriptor(adopting: Int32(number))
    var information = stat()
    // SAFETY: the call fills the local.
    guard unsafe fstat(Int32(number), &information) == 0 else {
      throw .system(doing: action, code: errno)
    }
    let kind = information.st_mode & S_IFMT
    guard kind == S_IFREG || kind == S_IFBLK else {
      throw .unsuitableDisk(path: path, reason: "it is neither a file nor a block device")
    }
    // For a block device the size is where its end is.
    let byteCount = lseek(Int32(number), 0, SEEK_END)
    guard byteCount >= 0 else { throw .system(doing: action, code: errno) }
    guard byteCount > 0, byteCount % Self.sectorByteCount == 0 else {
      throw .unsuitableDisk(
        path: path,
        reason: "it has \(byteCount) bytes, but a disk is a whole number of sectors of 512 bytes")
    }
    self.path = path
    self.isReadOnly = isReadOnly
    sectorCount = UInt64(byteCount / Self.sectorByteCount)
    // A hole beyond the end changes nothing, and tells whether the file system makes holes.
    canDiscard =
      !isReadOnly && kind == S_IFREG
      && godwit_file_punch_hole(Int32(number), Int64(byteCount), 4096) == 0
  }

  /// How much of the host's disk it takes, in bytes; nil where that cannot be told.
  var occupiedByteCount: UInt64? {
    var information = stat()
    // SAFETY: the call fills the local.
    guard unsafe fstat(descriptor.raw, &information) == 0 else { return nil }
    return UInt64(clamping: information.st_blocks) * 512
  }

  /// Fills guest memory from the image, marking it dirty; whether all of it was read.
  func read(at offset: Int64, into pieces: [MemoryPiece]) -> Bool {
    var place = offset
    var isWhole = true
    for piece in pieces where isWhole {
      // SAFETY: `transfer` hands over memory of the piece and no more.
      isWhole = unsafe transfer(piece, at: place) { number, address, count, place in
        unsafe pread(number, address, count, Int(place))
      }
      piece.markDirty()
      place += Int64(piece.byteCount)
    }
    return isWhole
  }

  /// Writes guest memory to the image; whether all of it was written.
  func write(at offset: Int64, from pieces: [MemoryPiece]) -> Bool {
    var place = offset
    hasUnflushed.store(true, ordering: .relaxed)
    for piece in pieces {
      // SAFETY: as for reading.
      let isWhole = unsafe transfer(piece, at: place) { number, address, count, place in
        unsafe pwrite(number, address, count, Int(place))
      }
      guard isWhole else { return false }
      place += Int64(piece.byteCount)
    }
    return true
  }

  /// Waits until what was written is on the disk; whether it is.
  func flush() -> Bool {
    // What is written while this waits may need another flush.
    hasUnflushed.store(false, ordering: .relaxed)
    return fdatasync(descriptor.raw) == 0
  }

  /// Flushes what was written since the last time, if anything was.
  func flushIfNeeded() {
    if hasUnflushed.load(ordering: .relaxed) { _ = flush() }
  }

  /// Gives the blocks of a range back; whether it was done.
  func discard(at offset: Int64, byteCount: Int64) -> Bool {
    hasUnflushed.store(true, ordering: .relaxed)
    return godwit_file_punch_hole(descriptor.raw, offset, byteCount) == 0
  }

  /// Makes a range read as zeros, by whatever way there is; whether it was done.
  ///
  /// - Parameter mayUnmap: whether its blocks may be given back.
  func writeZeroes(at offset: Int64, byteCount: Int64, mayUnmap: Bool) -> Bool {
    hasUnflushed.store(true, ordering: .relaxed)
    if mayUnmap && canDiscard && discard(at: offset, byteCount: byteCount) { return true }
    if godwit_file_zero_range(descriptor.raw, offset, byteCount) == 0 { return true }
    let zeroes = [UInt8](repeating: 0, count: 1 << 20)
    var done: Int64 = 0
    while done < byteCount {
      let share = Int(min(byteCount - done, Int64(zeroes.count)))
      // SAFETY: the array has at least `share` bytes and lives for the call.
      let written = unsafe zeroes.withUnsafeBytes { bytes in
        SystemErrors.repeating {
          unsafe pwrite(descriptor.raw, bytes.baseAddress, share, Int(offset + done))
        }
      }
      guard written > 0 else { return false }
      done += Int64(written)
    }
    return true
  }

  private typealias Call = (Int32, UnsafeMutableRawPointer, Int, Int64) -> Int

  /// Moves one piece, in as many calls as it takes; whether all of it was moved.
  private func transfer(_ piece: MemoryPiece, at place: Int64, _ call: Call) -> Bool {
    // SAFETY: the piece is inside its block, which the piece keeps.
    unsafe piece.block.withUnsafeMemory(offset: piece.offset, byteCount: piece.byteCount) {
      memory in
      var done = 0
      while done < piece.byteCount, let base = memory.baseAddress {
        let moved = SystemErrors.repeating {
          unsafe call(descriptor.raw, base + done, piece.byteCount - done, place + Int64(done))
        }
        guard moved > 0 else { return false }
        done += moved
      }
      return true
    }
  }
}
