// A file of 64-bit words, mapped: shared between threads and processes, bounded in memory.

import CLinux
import Glibc
import Synchronization

/// The 64-bit little-endian words of a range of a file.
///
/// Loads and stores are atomic, so other threads and processes may use the same words. Pages of a
/// shared file mapping count as the process's memory: after enough accesses they are dropped from
/// it (the kernel's cache keeps them), so that a store or guest of any size fits a fixed budget.
@safe
final class MappedWords: @unchecked Sendable {
  /// Words mapped.
  let count: Int
  private let base: UnsafeMutablePointer<UInt64>
  private let byteCount: Int
  private let path: String
  private let accesses = Atomic<Int>(0)
  private let accessesPerDrop: Int

  /// Maps `count` words of a file from its beginning; the file has that length and, if it is
  /// written through the mapping, its blocks (`File.allocate`).
  ///
  /// - Parameter residentBytes: how much of the mapping may stay in this process's memory.
  init(
    _ file: File, count: Int, writable: Bool, residentBytes: Int = 32 << 20
  ) throws(StoreError) {
    let byteCount = max(count * 8, 8)
    let protection = writable ? PROT_READ | PROT_WRITE : PROT_READ
    // SAFETY: a new mapping at an address of the kernel's choice; the result is checked below.
    let address = unsafe mmap(nil, byteCount, protection, MAP_SHARED, file.descriptor, 0)
    guard let address = unsafe address, unsafe address != MAP_FAILED else {
      throw .system(doing: "mapping", path: file.path, code: errno)
    }
    // SAFETY: the mapping is page-aligned and `byteCount` long; any bits are a valid UInt64.
    unsafe base = address.bindMemory(to: UInt64.self, capacity: byteCount / 8)
    self.count = count
    self.byteCount = byteCount
    path = file.path
    // A read fault maps up to 64 KiB around it, a write fault 4 KiB.
    accessesPerDrop = byteCount <= residentBytes ? .max : residentBytes / (64 << 10)
  }

  deinit {
    // SAFETY: `base` is this object's own mapping, unmapped once.
    unsafe munmap(base, byteCount)
  }

  /// The word at an index.
  @inline(__always)
  subscript(index: Int) -> UInt64 {
    get {
      precondition(index >= 0 && index < count, "a word outside its mapping")
      // SAFETY: the index is inside the mapping.
      return unsafe godwit_word_load(base + index)
    }
    set {
      precondition(index >= 0 && index < count, "a word outside its mapping")
      // SAFETY: the index is inside the mapping.
      unsafe godwit_word_store(base + index, newValue)
    }
  }

  /// Replaces a word if it is still what is expected; whether it was.
  func exchange(_ index: Int, expected: UInt64, desired: UInt64) -> Bool {
    precondition(index >= 0 && index < count, "a word outside its mapping")
    // SAFETY: the index is inside the mapping.
    return unsafe godwit_word_exchange(base + index, expected, desired)
  }

  /// Accounts for one random access (or one run of neighbours), and now and then drops the mapping
  /// from this process's memory.
  @inline(__always)
  func noteAccess() {
    if accessesPerDrop == .max { return }
    let (_, seen) = accesses.add(1, ordering: .relaxed)
    if seen % accessesPerDrop == 0 { drop() }
  }

  /// Drops the mapping from this process's memory; its content stays.
  func drop() {
    // SAFETY: a shared file mapping loses nothing by this: the page cache keeps what was written.
    _ = unsafe madvise(base, byteCount, MADV_DONTNEED)
  }

  /// Makes what was stored survive power loss.
  func sync() throws(StoreError) {
    // SAFETY: `base` is this object's own mapping.
    guard unsafe msync(base, byteCount, MS_SYNC) == 0 else {
      throw .system(doing: "syncing", path: path, code: errno)
    }
  }
}
