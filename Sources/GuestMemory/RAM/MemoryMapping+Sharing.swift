// Memory of one process becomes a file that others can map, at the addresses that it had.

internal import CLinux
internal import Glibc
internal import Transport

extension MemoryMapping {
  /// Asks for huge pages where the kernel has them.
  ///
  /// A guest, and a move that fills it, then faults once in 2 MiB and not once in 4 KiB. A kernel
  /// without them is no worse off.
  func preferHugePages() {
    // SAFETY: the range is the mapping.
    unsafe _ = madvise(base, byteCount, MADV_HUGEPAGE)
  }

  /// Copies what is not zero to the same places of a file of this size.
  ///
  /// Written and not mapped: the kernel need not clear the pages first, nor take a fault for each.
  func copy(
    into file: borrowing OwnedDescriptor, for name: String
  ) throws(GuestMemoryError) {
    let step = Self.hugePageSize
    for start in stride(from: 0, to: byteCount, by: step) {
      let count = min(step, byteCount - start)
      // What was never touched is not even read: that would cost a fault a page.
      let pages = start / Self.hostPageSize..<(start + count) / Self.hostPageSize
      if untouchedRuns(in: start..<start + count) == [pages] { continue }
      // SAFETY: the range is inside the mapping.
      let piece = unsafe RawSpan(_unsafeStart: base + start, byteCount: count)
      for page in PageScan.nonzeroPages(in: piece, pageSize: Self.hostPageSize) {
        let offset = start + page * Self.hostPageSize
        // SAFETY: the page is inside the mapping.
        let written = unsafe pwrite(
          file.raw, base + offset, Self.hostPageSize, off_t(offset))
        guard written == Self.hostPageSize else {
          throw .hostRefused(
            action: "Copying the memory of '\(name)' to where others can map it",
            code: written < 0 ? errno : ENOSPC)
        }
      }
    }
  }

  /// Has the beginning of a file lie where the memory was, all of which is given back.
  func replace(by file: borrowing OwnedDescriptor, for name: String) throws(GuestMemoryError) {
    // SAFETY: replaces this value's own mapping by one of the same size; the address stays.
    let mapped = unsafe mmap(
      base, byteCount, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE | MAP_FIXED, file.raw, 0)
    guard unsafe mapped == base else {
      throw .hostRefused(action: "Mapping the shared memory of '\(name)'", code: errno)
    }
  }
}
